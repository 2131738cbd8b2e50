"""Sentences in five languages, each with two words that somebody asks for it by.

The words are as one types them: compounds alone, without article, in the singular.
"""

from __future__ import annotations

_CHINESE = """
水泵的零件必须每六个月更换一次。|水泵 零件
我们在北京大学学习现代汉语语法。|北京大学 语法
这本书介绍了人体免疫系统的工作原理。|免疫系统 原理
电池充满电以后请拔掉充电器。|电池 充电器
昨天晚上的大雨淹没了城市的地铁站。|大雨 地铁站
图书馆星期天上午九点开门。|图书馆 星期天
番茄炒鸡蛋是最常见的家常菜。|番茄 鸡蛋
细胞膜控制物质进出细胞。|细胞膜 物质
他每天骑自行车去公司上班。|自行车 上班
长城是世界上最长的防御建筑。|长城 建筑
糖尿病患者应当少吃甜食。|糖尿病 甜食
医生建议病人多喝水多休息。|医生 休息
这台打印机需要更换黑色墨盒。|打印机 墨盒
春节期间火车票非常难买。|春节 火车票
植物通过光合作用产生氧气。|光合作用 氧气
请把阀门拧紧以防止漏油。|阀门 漏油
她的论文研究儿童的语言发展。|论文 儿童
飞机因为大雾推迟了三个小时。|飞机 大雾
月亮绕着地球转动。|月亮 地球
新的法律保护消费者的隐私。|法律 隐私
猫喜欢睡在温暖的窗台上。|猫 窗台
工厂的废水必须经过处理才能排放。|废水 处理
这家餐厅的牛肉面很有名。|餐厅 牛肉面
地震发生时应当躲在桌子下面。|地震 桌子
记忆分为短期记忆和长期记忆。|短期记忆 长期记忆
孩子们在公园里放风筝。|公园 风筝
银行的利率今年又下降了。|银行 利率
茶叶应该放在干燥阴凉的地方。|茶叶 干燥
螺丝的直径是八毫米。|螺丝 直径
古代的丝绸之路连接了东方和西方。|丝绸之路 西方
"""

_JAPANESE = """
東京の天気は明日も雨が続くでしょう。|東京 天気
冷蔵庫の扉はしっかり閉めてください。|冷蔵庫 扉
新幹線は時速三百キロで走ります。|新幹線 時速
彼女は大学で経済学を勉強しています。|大学 経済学
電池を交換する前に電源を切ってください。|電池 電源
細胞は生物の基本的な単位である。|細胞 生物
このポンプの部品は在庫がありません。|ポンプ 部品
富士山は日本で一番高い山です。|富士山 日本
毎朝コーヒーを飲んでから会社に行く。|コーヒー 会社
地震のときは机の下に隠れてください。|地震 机
図書館で借りた本を返さなければならない。|図書館 本
台風の影響で飛行機が欠航になった。|台風 飛行機
味噌汁に豆腐とわかめを入れる。|味噌汁 豆腐
免疫は体を病気から守る仕組みです。|免疫 病気
子供たちは公園でサッカーをしている。|公園 サッカー
パスワードを忘れた場合は管理者に連絡してください。|パスワード 管理者
京都には古い寺院がたくさんあります。|京都 寺院
データベースを検索する機能を追加した。|データベース 検索
血圧は毎日同じ時間に測りましょう。|血圧 時間
猫が窓のそばで昼寝をしている。|猫 昼寝
植物は光合成によって酸素を作る。|光合成 酸素
駅前に新しい喫茶店ができました。|駅前 喫茶店
弁を閉めてから油の漏れを確認する。|弁 油
この映画は第二次世界大戦を描いている。|映画 世界大戦
銀行は午後三時に閉まります。|銀行 午後
桜の花は四月の初めに咲く。|桜 四月
睡眠不足は記憶力を低下させる。|睡眠不足 記憶力
お茶は乾燥した涼しい場所に保管する。|お茶 保管
ねじの直径は八ミリです。|ねじ 直径
彼は毎週日曜日に祖母の家を訪ねる。|日曜日 祖母
"""

_THAI = """
ห้องน้ำอยู่ทางซ้ายของลิฟต์|ห้องน้ำ ลิฟต์
โรงพยาบาลแห่งนี้เปิดตลอดยี่สิบสี่ชั่วโมง|โรงพยาบาล ชั่วโมง
ปั๊มน้ำตัวนี้ต้องเปลี่ยนอะไหล่ทุกปี|ปั๊มน้ำ อะไหล่
กรุงเทพเป็นเมืองหลวงของประเทศไทย|กรุงเทพ เมืองหลวง
ฝนตกหนักทำให้ถนนหลายสายน้ำท่วม|ฝนตก น้ำท่วม
แมวชอบนอนบนหลังคาบ้าน|แมว หลังคา
นักเรียนต้องส่งการบ้านภายในวันศุกร์|นักเรียน การบ้าน
แบตเตอรี่หมดกรุณาเสียบสายชาร์จ|แบตเตอรี่ สายชาร์จ
ต้มยำกุ้งเป็นอาหารไทยที่มีรสเผ็ด|ต้มยำกุ้ง อาหาร
ร้านหนังสือเปิดใหม่อยู่ใกล้สถานีรถไฟ|ร้านหนังสือ สถานี
พืชใช้แสงอาทิตย์ในการสร้างอาหาร|พืช แสงอาทิตย์
แพทย์แนะนำให้ผู้ป่วยออกกำลังกายทุกวัน|แพทย์ ออกกำลังกาย
เครื่องพิมพ์นี้ต้องใช้หมึกสีดำ|เครื่องพิมพ์ หมึก
ช้างเป็นสัตว์บกที่ใหญ่ที่สุดในโลก|ช้าง สัตว์
ตลาดน้ำมีชื่อเสียงมากในหมู่นักท่องเที่ยว|ตลาดน้ำ นักท่องเที่ยว
เด็กเล่นฟุตบอลในสนามหลังโรงเรียน|ฟุตบอล โรงเรียน
ธนาคารปิดทำการในวันอาทิตย์|ธนาคาร วันอาทิตย์
รถไฟฟ้าขบวนสุดท้ายออกเวลาเที่ยงคืน|รถไฟฟ้า เที่ยงคืน
กาแฟเย็นใส่นมข้นหวานอร่อยมาก|กาแฟ นม
แผ่นดินไหวทำให้อาคารสูงสั่นสะเทือน|แผ่นดินไหว อาคาร
ภูเขาลูกนี้ปกคลุมด้วยหิมะตลอดปี|ภูเขา หิมะ
ผู้หญิงคนนั้นกำลังซื้อผักและผลไม้|ผัก ผลไม้
กุญแจรถหายไปในห้างสรรพสินค้า|กุญแจ ห้างสรรพสินค้า
เครื่องบินล่าช้าเพราะหมอกหนา|เครื่องบิน หมอก
ข้าวเหนียวมะม่วงเป็นขนมยอดนิยม|มะม่วง ขนม
พระจันทร์เต็มดวงส่องแสงบนทะเล|พระจันทร์ ทะเล
วาล์วรั่วต้องปิดท่อก่อนซ่อม|วาล์ว ท่อ
กฎหมายใหม่คุ้มครองสิทธิของผู้บริโภค|กฎหมาย ผู้บริโภค
ดนตรีช่วยลดความเครียดได้ดี|ดนตรี ความเครียด
หน้าต่างห้องนอนควรเปิดรับลมตอนเช้า|หน้าต่าง ห้องนอน
"""

_GERMAN = """
Die Dichtungen der Wasserpumpe müssen jährlich erneuert werden.|Wasserpumpe Dichtung
Vor dem Öffnen des Gehäuses ist der Netzstecker zu ziehen.|Gehäuse Netzstecker
Frau Müller fährt jeden Morgen mit dem Fahrrad zur Arbeit.|Muller Fahrrad
Das Museum ist montags wegen Reinigung geschlossen.|Museum Montag
Zellen des Immunsystems wandern durch die Blutgefäße.|Immunsystem Blutgefäß
Die Äpfel werden im September von Hand gepflückt.|Apfel September
Der Zug nach Köln hat zwanzig Minuten Verspätung.|Zug Köln
Ein starkes Gewitter hat viele Bäume entwurzelt.|Gewitter Baum
Kinder lernen Sprachen schneller als Erwachsene.|Kind Sprache
Der Vertrag kann mit einer Frist von drei Monaten gekündigt werden.|Vertrag Frist
Den Teig eine Stunde an einem warmen Ort gehen lassen.|Teig Stunde
Die Schrauben haben einen Durchmesser von acht Millimetern.|Schraube Durchmesser
Pflanzen erzeugen durch Photosynthese Sauerstoff.|Pflanze Sauerstoff
Der Mond dreht sich in einem Monat um die Erde.|Mond Erde
Unsere Katzen schlafen am liebsten auf der Fensterbank.|Katze Fensterbank
Das Ventil schließt, sobald der Druck zu hoch wird.|Ventil Druck
Patienten mit Bluthochdruck sollten wenig Salz essen.|Bluthochdruck Salz
Die Straße zum Bahnhof ist wegen Bauarbeiten gesperrt.|Strasse Bahnhof
Im Frühling blühen die Kirschbäume im Stadtpark.|Frühling Kirschbaum
Die Batterien dürfen nicht in den Hausmüll geworfen werden.|Batterie Hausmüll
Das Gedächtnis speichert Erinnerungen an frühere Ereignisse.|Gedächtnis Erinnerung
Der Bäcker verkauft am Sonntag frische Brötchen.|Bäcker Brötchen
Die Bürgermeisterin eröffnete gestern die neue Brücke.|Bürgermeisterin Brücke
Gletscher in den Alpen schmelzen immer schneller.|Gletscher Alpen
Der Drucker meldet, dass die Tinte leer ist.|Drucker Tinte
Ohne Führerschein darf niemand ein Motorrad fahren.|Führerschein Motorrad
Die Bibliothek leiht auch Schallplatten und Noten aus.|Bibliothek Schallplatte
Bei Nebel ist die Landung des Flugzeugs schwierig.|Nebel Flugzeug
Die Philosophen der Antike stritten über die Tugend.|Philosoph Tugend
Öl und Wasser lassen sich nicht dauerhaft mischen.|Öl Wasser
"""

_ARABIC = """
يجب تغيير قطع غيار المضخة كل ستة أشهر.|قطع المضخة
المستشفى مفتوح طوال أيام الأسبوع.|المستشفى الأسبوع
ذهب الطلاب إلى المكتبة لقراءة الكتب القديمة.|الطلاب المكتبة
القاهرة هي عاصمة جمهورية مصر العربية.|القاهرة عاصمة
سقط المطر الغزير على المدينة طوال الليل.|المطر المدينة
تنتج النباتات الأكسجين من خلال التمثيل الضوئي.|النباتات الأكسجين
افصل التيار الكهربائي قبل فتح الغطاء.|التيار الغطاء
القطة نائمة على النافذة تحت الشمس.|القطة النافذة
يشرب أبي القهوة كل صباح مع الجريدة.|القهوة الجريدة
تأخرت الطائرة ثلاث ساعات بسبب الضباب.|الطائرة الضباب
ينصح الأطباء بممارسة الرياضة يوميا.|الأطباء الرياضة
يدور القمر حول الأرض مرة كل شهر.|القمر الأرض
البنك مغلق يوم الجمعة ويفتح يوم الأحد.|البنك الجمعة
كتبت المعلمة الدرس على السبورة البيضاء.|المعلمة السبورة
الصمام يغلق عندما يرتفع الضغط.|الصمام الضغط
يلعب الأطفال كرة القدم في الحديقة.|الأطفال الحديقة
هذا المطعم مشهور بالسمك المشوي.|مطعم سمك
الزلزال هدم بيوتا كثيرة في القرية.|زلزال قرية
تحمي الخلايا المناعية الجسم من الأمراض.|خلايا أمراض
الطابعة تحتاج إلى حبر أسود جديد.|طابعة حبر
قطار الصباح يصل إلى المحطة في الثامنة.|قطار محطة
يبيع السوق الفواكه والخضروات الطازجة.|سوق فواكه
يحفظ الدماغ الذكريات أثناء النوم.|دماغ نوم
عبر الجمل الصحراء في خمسة أيام.|جمل صحراء
القانون الجديد يحمي حقوق المستهلكين.|قانون حقوق
البحر هادئ والسماء صافية اليوم.|بحر سماء
نسيت مفتاح السيارة في المكتب.|مفتاح سيارة
الخبز الساخن يخرج من الفرن فجرا.|خبز فرن
رسم الفنان صورة كبيرة للجبال.|فنان صورة
يحب الناس الموسيقى في كل مكان وزمان.|موسيقى زمان
"""


def _pairs(lines: str) -> list[tuple[str, str]]:
    return [
        (sentence, words)
        for sentence, _, words in (line.partition("|") for line in lines.split("\n"))
        if sentence
    ]


SENTENCES = {
    "chinese": _pairs(_CHINESE),
    "japanese": _pairs(_JAPANESE),
    "thai": _pairs(_THAI),
    "german": _pairs(_GERMAN),
    "arabic": _pairs(_ARABIC),
}
"""By language: thirty sentences, each with its two words."""

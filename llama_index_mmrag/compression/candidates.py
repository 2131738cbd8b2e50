"""Settings to try, and the transforms that belong to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from llama_index_mmrag.alignment.autoencoder import AutoencoderSettings, fit_autoencoder
from llama_index_mmrag.alignment.chain import Chain, Truncate
from llama_index_mmrag.alignment.fitting import fit_directions
from llama_index_mmrag.alignment.transforms import Normalize, Transform
from llama_index_mmrag.checks import number, one_of, whole
from llama_index_mmrag.checks.arguments import checked_fields
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.stores.quantisation import SCHEMES, Scheme
from llama_index_mmrag.vectors import Vectors

Reduction: TypeAlias = Literal["pca", "truncate", "autoencoder"]

_SHARES = (3 / 4, 2 / 3, 1 / 2, 1 / 4, 1 / 8)
_NAMES: dict[str, str] = {
    "pca": "PCA", "truncate": "first", "autoencoder": "autoencoder"
}  # fmt: skip


@checked_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Which settings `compress` tries: every reduction with every quantisation.

    Attributes:
        reductions: "pca" keeps the directions that carry the most of all dot products,
            "truncate" the first numbers (for encoders trained as Matryoshkas),
            "autoencoder" trains one for each length, which takes torch and a minute.
        dims: Lengths to reduce to; None: 3/4, 2/3, 1/2, 1/4 and 1/8 of the vectors'.
        quantisations: Qdrant's, beside none.
        oversamplings: Rising; for each code the first that keeps the promise is taken.
        autoencoder: How it is trained; None: its defaults.
    """

    reductions: tuple[Reduction, ...] = ("pca", "truncate")
    dims: tuple[int, ...] | None = None
    quantisations: tuple[Scheme, ...] = SCHEMES
    oversamplings: tuple[float, ...] = (2.0, 4.0, 8.0, 16.0)
    autoencoder: AutoencoderSettings | None = None

    def __post_init__(self) -> None:
        for name, given, known in (
            ("A reduction", self.reductions, get_args(Reduction)),
            ("A quantisation", self.quantisations, SCHEMES),
        ):
            for one in given:
                one_of(one, name, known)
        for dim in self.dims or ():
            whole(dim, "A length of dims", at_least=1)
        for level in self.oversamplings:
            number(level, "An oversampling", at_least=1)
        rising = sorted({*self.oversamplings})
        if not rising or [*self.oversamplings] != rising:
            raise InvalidSetting(
                f"oversamplings are {self.oversamplings!r}; expected at least one, "
                f"rising. Correct the setting."
            )

    def lengths(self, dim: int) -> list[int]:
        """Return the lengths to try, falling, each shorter than `dim`."""
        asked = self.dims
        if asked is None:
            asked = tuple(int(share * dim) for share in _SHARES)
        return sorted({k for k in asked if 1 <= k < dim}, reverse=True)

    def transforms(
        self, fitted_on: Vectors, *, seed: int
    ) -> Iterator[tuple[str, Transform]]:
        """Yield a name and a transform for each reduction and length, none before them.

        Lengths that need more vectors than there are to fit on are left out.

        Args:
            fitted_on: Unit rows, `(n, d)`.
            seed: Of an autoencoder that has no settings.
        """
        n, dim = fitted_on.shape
        yield f"all {dim}", Chain()
        for reduction in self.reductions:
            for length in self.lengths(dim):
                # Fewer than two vectors for a direction fit noise, not directions.
                if reduction != "truncate" and n < 2 * length:
                    continue
                name = f"{_NAMES[reduction]} {length}"
                yield name, self._fitted(reduction, length, fitted_on, seed)

    def n_tests(self, dim: int) -> int:
        """Return how many settings can be compared with the promise at most."""
        n_transforms = 1 + len(self.reductions) * len(self.lengths(dim))
        n_codes = sum(scheme != "float16" for scheme in self.quantisations)
        n_others = 1 + len(self.quantisations) - n_codes
        return n_transforms * (n_others + n_codes * len(self.oversamplings))

    def _fitted(
        self, reduction: Reduction, length: int, rows: Vectors, seed: int
    ) -> Transform:
        if reduction == "truncate":
            return Truncate(length)
        if reduction == "pca":
            return Chain((Normalize(), fit_directions(rows, length), Normalize()))
        settings = self.autoencoder or AutoencoderSettings(seed=seed)
        return fit_autoencoder(rows, length, settings=settings).encoder

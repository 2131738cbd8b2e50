"""ConSE: pictures in a text space, from a classifier and its class names. Pure numpy.

A classifier says how much a picture looks like each of its classes; the mean of the
class names' text vectors under those probabilities is a vector that texts can be
compared with, although no pair of picture and text was ever seen:

    p = softmax(logits / temperature)
    v = p C / |p C|

Norouzi et al., "Zero-Shot Learning by Convex Combination of Semantic Embeddings",
https://arxiv.org/abs/1312.5650. Differences from the paper: all classes take part (not
the ten most probable), the softmax is softened, and C is centred. Each raised the mean
reciprocal rank on the validation captions of Flickr8k.
"""

from __future__ import annotations

import numpy as np

from llama_index_mmrag.vectors import Vectors, unit_rows

TEMPERATURE = 2.0
"""Softening of the class probabilities; 2 to 2.5 was best on Flickr8k validation."""


def softmax(logits: Vectors, *, temperature: float = 1.0) -> Vectors:
    """Return class probabilities, shape `(n, classes)`; each row adds up to 1.

    Args:
        logits: Shape `(n, classes)`, any finite values.
        temperature: Above 1 flattens, below 1 sharpens; greater than 0.
    """
    scaled = logits / temperature
    # Shifted so that exp() of the largest is 1: no overflow, same quotient.
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def centred_classes(*text_vectors: Vectors) -> tuple[Vectors, Vectors]:
    """Return one vector for each class, less their mean, and that mean, `(dim,)`.

    Without centring all pictures share the direction of "some ImageNet class", and
    that part drowns the differences.

    Args:
        text_vectors: Several `(classes, dim)` arrays, one for each wording of the
            classes (the name, "a photo of a" name, the definition); a class's vector
            is their normalised sum.
    """
    classes = unit_rows(np.asarray(sum(text_vectors)))
    mean = classes.mean(axis=0)
    return classes - mean, mean


def conse(
    logits: Vectors, classes: Vectors, *, temperature: float = TEMPERATURE
) -> Vectors:
    """Return pictures as unit vectors in the class names' space, `(n, dim)`.

    Args:
        logits: Classifier outputs before softmax, `(n, classes)`.
        classes: Text vectors of the classes, `(classes, dim)`.
        temperature: Softening of the probabilities; greater than 0.

    Example:
        A picture that is surely a cat gets the vector of "cat":

        >>> names = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)  # cat, dog
        >>> conse(np.array([[90.0, 0.0]], dtype=np.float32), names).round(3).tolist()
        [[1.0, 0.0]]
    """
    return unit_rows(softmax(logits, temperature=temperature) @ classes)


def linear_head(features: Vectors, weight: Vectors, bias: Vectors) -> Vectors:
    """Return features projected into the text space, unit length, `(n, dim)`.

    Args:
        features: Pooled image features, `(n, n_features)`.
        weight: Shape `(dim, n_features)`.
        bias: Shape `(dim,)`.
    """
    return unit_rows(features @ weight.T + bias)


def with_head(
    conse_vectors: Vectors, head_vectors: Vectors, *, head_weight: float
) -> Vectors:
    """Return `unit(conse + head_weight * head)`, row by row, `(n, dim)`."""
    return unit_rows(conse_vectors + np.float32(head_weight) * head_vectors)

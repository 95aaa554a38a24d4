"""Fusion and tables: absence, padding, unknown values, against what they are by definition."""

import numpy as np
import pytest
import torch

from tunesmith.models.fusion import FUSIONS, Tokens
from tunesmith.models.tabular import Tabular, category_code

WIDTH, ROWS = 8, 5


def tokens(length: int, seed: int, rows: int = ROWS) -> Tokens:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, length + 1, (rows,), generator=generator)
    values = torch.randn(rows, length, WIDTH, generator=generator)
    return Tokens(values, torch.arange(length) < lengths.unsqueeze(1))


def without(given: Tokens, rows: list[int]) -> Tokens:
    mask = given.mask.clone()
    mask[rows] = False
    return Tokens(given.values, mask)


@pytest.fixture(params=FUSIONS)
def fusion(request):
    torch.manual_seed(0)
    return FUSIONS[request.param](WIDTH, ["image", "audio"], 2, 0.0).eval()


def test_it_gives_one_vector_a_row_whatever_is_absent(fusion):
    image, audio = without(tokens(4, 1), [0, 2]), without(tokens(3, 2), [1, 2])
    fused = fusion(tokens(6, 3), {"image": image, "audio": audio})
    assert fused.shape == (ROWS, fusion.size)
    assert fused.isfinite().all()


def test_what_is_masked_is_not_read(fusion):
    parts = [tokens(6, 3), without(tokens(4, 1), [0, 2]), without(tokens(3, 2), [1, 2])]
    noisy = [Tokens(torch.where(p.mask.unsqueeze(-1), p.values, 99.0), p.mask) for p in parts]
    first, second = (fusion(t, {"image": i, "audio": a}) for t, i, a in (parts, noisy))
    torch.testing.assert_close(first, second)


def test_a_row_does_not_depend_on_what_others_lack(fusion):
    text, image, audio = tokens(6, 3), tokens(4, 1), tokens(3, 2)
    whole = fusion(text, {"image": image, "audio": audio})
    lacking = {"image": without(image, [0, 1]), "audio": without(audio, [0])}
    torch.testing.assert_close(fusion(text, lacking)[2:], whole[2:])


def test_what_a_row_has_changes_its_vector(fusion):
    text, image, audio = tokens(6, 3), tokens(4, 1), tokens(3, 2)
    whole = fusion(text, {"image": image, "audio": audio})
    other = Tokens(image.values + torch.randn(WIDTH), image.mask)
    changed = fusion(text, {"image": other, "audio": audio})
    absent = fusion(text, {"image": without(image, [0]), "audio": audio})
    assert (whole - changed).abs().amax(-1).min() > 1e-3
    assert (whole - absent)[0].abs().max() > 1e-3


def test_every_parameter_learns(fusion):
    given = {"image": without(tokens(4, 1), [0]), "audio": without(tokens(3, 2), [1])}
    fusion(tokens(6, 3), given).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in fusion.parameters())


def test_gates_are_the_sum_of_arevalo():
    gates = FUSIONS["gate"](WIDTH, ["image"], 2, 0.0)
    text, image = tokens(6, 3, 1), tokens(4, 1, 1)
    a, b = text.values[text.mask].mean(0), image.values[image.mask].mean(0)
    z = torch.sigmoid(gates.gate.weight @ torch.cat([a, b]) + gates.gate.bias)
    ha, hb = torch.tanh(gates.hidden[0](a)), torch.tanh(gates.hidden[1](b))
    wanted = z[:WIDTH] * ha + z[WIDTH:] * hb
    torch.testing.assert_close(gates(text, {"image": image})[0], wanted)


# Tables


NUMBERS = np.array([[1.0, 5.0], [3.0, np.nan], [5.0, 5.0]])
CATEGORIES = [["a"], ["b"], [None]]


@pytest.fixture
def table():
    torch.manual_seed(0)
    return Tabular.fitted(WIDTH, NUMBERS, CATEGORIES)


def test_numbers_are_standardized_by_what_was_there(table):
    assert table.mean.tolist() == [3.0, 5.0]
    assert table.deviation.tolist() == pytest.approx([np.std([1, 3, 5]), 1.0])


def codes(*rows):
    return torch.tensor([[category_code(j, v) for j, v in enumerate(row)] for row in rows])


def test_unseen_values_are_all_the_unknown_one(table):
    numbers = torch.zeros(5, 2)
    out = table(numbers, codes(["a"], ["new"], ["newer"], [None], ["b"]))[:, 2]  # (5, H)
    torch.testing.assert_close(out[1], out[2])
    assert all((out[i] - out[j]).abs().max() > 1e-3 for i in (0, 3, 4) for j in range(5) if i != j)


def test_no_value_and_the_word_none_are_two_values():
    assert category_code(0, None) != category_code(0, "None") != category_code(1, "None")


def test_a_missing_number_is_neither_the_mean_nor_nothing(table):
    out = table(torch.tensor([[3.0, np.nan], [3.0, 5.0]]), codes(["a"], ["a"]))
    assert out.isfinite().all()
    torch.testing.assert_close(out[0, 0], out[1, 0])
    assert (out[0, 1] - out[1, 1]).abs().max() > 1e-3


def test_a_table_of_shapes_takes_what_was_saved(table):
    state = table.state_dict()
    again = Tabular.of_shapes(WIDTH, {name: tuple(t.shape) for name, t in state.items()})
    again.load_state_dict(state)
    given = torch.tensor([[1.0, np.nan]]), codes(["b"])
    assert torch.equal(again(*given), table(*given))


def test_one_kind_of_column_is_enough():
    only_numbers = Tabular.fitted(WIDTH, NUMBERS, [])
    assert only_numbers(torch.zeros(2, 2), torch.zeros(2, 0, dtype=torch.int64)).shape == (2, 2, 8)
    only_values = Tabular.fitted(WIDTH, None, CATEGORIES)
    assert only_values(torch.zeros(2, 0), codes(["a"], ["x"])).shape == (2, 1, 8)

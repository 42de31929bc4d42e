"""The joint network: it is the papers' own, importance is gradient times activation, and the planted head leads."""

import json

import numpy as np
import pytest
import torch
from golden import golden
from planted_heads import FUNCTIONS, planted

from interp.errors import InputError
from probes.heads.scorers.elbow import elbow
from probes.heads.scorers.joint_network import joint_network
from probes.heads.scorers.network import SHARED, JointNetwork, importance, predicted, train_network

FAST = {"functions": FUNCTIONS, "epochs": 3, "batch": 8, "rate": 1e-3, "shuffles": 3, "draws": 60, "progress": False}
CARRIERS = (("spatial", 1, 2), ("math", 0, 1))


def by_hand(weights, x, c):
    """Gradient times activation by the chain rule, in float64; the sum over the shared map's dimensions."""
    w = {name: own.detach().numpy().astype(float) for name, own in weights.items()}
    p = x @ w["shared.weight"].T + w["shared.bias"]
    before = p.reshape(len(x), -1) @ w["hidden.weight"].T + w["hidden.bias"]
    slope = ((before > 0) * w["out.weight"][c]) @ w["hidden.weight"]
    return (slope.reshape(p.shape) * p).sum(axis=2), np.maximum(before, 0) @ w["out.weight"].T + w["out.bias"]


def test_importance_and_logits_are_the_chain_rules():
    torch.manual_seed(0)
    network = JointNetwork(n_heads=5, width=7, n_functions=3)
    x = np.random.default_rng(0).normal(size=(4, 5, 7)).astype(np.float32)
    for c in range(3):
        wanted, logits = by_hand(network.state_dict(), x, c)
        np.testing.assert_allclose(importance(network, x, c), wanted, atol=2e-6)
        np.testing.assert_allclose(predicted(network, x), logits, atol=1e-6)


def test_training_is_adamw_in_steps_of_one_item_in_their_order():
    torch.manual_seed(1)
    network = JointNetwork(n_heads=3, width=4, n_functions=3, dropout=0.0)
    weights = {name: own.clone().requires_grad_() for name, own in network.state_dict().items()}
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 3, 4)).astype(np.float32), rng.integers(3, size=6)
    losses = train_network(network, lambda rows: x[rows], np.eye(3, dtype=bool)[y], epochs=3, rate=1e-2)
    steps = torch.optim.AdamW(weights.values(), lr=1e-2, weight_decay=0.01)
    for epoch in range(3):
        total = 0.0
        for item, label in zip(torch.from_numpy(x), y, strict=True):
            flat = (item @ weights["shared.weight"].T + weights["shared.bias"]).flatten()
            hidden = torch.relu(weights["hidden.weight"] @ flat + weights["hidden.bias"])
            logits = weights["out.weight"] @ hidden + weights["out.bias"]
            loss = -torch.log_softmax(logits, 0)[label]
            steps.zero_grad()
            loss.backward()
            steps.step()
            total += loss.item() / 6
        assert losses[epoch] == pytest.approx(total, rel=1e-4)
    for name, own in network.state_dict().items():
        np.testing.assert_allclose(own, weights[name].detach(), atol=1e-4)


def test_bce_is_the_mean_over_functions_of_each_by_itself():
    torch.manual_seed(1)
    network = JointNetwork(n_heads=2, width=3, n_functions=3, dropout=0.0)
    x = np.random.default_rng(0).normal(size=(1, 2, 3)).astype(np.float32)
    chance = 1 / (1 + np.exp(-predicted(network, x)[0]))
    (loss,) = train_network(network, lambda rows: x[rows], np.array([[True, False, True]]), loss="bce", epochs=1)
    assert loss == pytest.approx(-np.log([chance[0], 1 - chance[1], chance[2]]).mean(), rel=1e-5)


def recorded():
    folder = golden("head_probe")
    if not (folder / "probe.npz").is_file():
        pytest.skip("the recorded networks, probe.npz, are not on this machine")
    return np.load(folder / "probe.npz")


def load(held, prefix, network):
    """The weights recorded under a prefix, told from each other by their shapes."""
    own = {name: held[name].astype(np.float32) for name in held.files if name.startswith(prefix)}
    with torch.no_grad():
        for parameter in network.parameters():
            (value,) = [one for one in own.values() if one.shape == tuple(parameter.shape)]
            parameter.copy_(torch.from_numpy(value))
    return network


def test_importance_and_elbow_are_the_recorded_ones():
    held = recorded()
    network = load(held, "trained.", JointNetwork(6, held["Xte"].shape[2], 3))
    labels = np.load(golden("head_probe") / "features.npz")["yte"]
    for c in range(3):
        own = importance(network, held["Xte"][labels == c], c).mean(axis=0) / SHARED
        np.testing.assert_allclose(own, held["trained.importance"][c], atol=1e-6)
        assert elbow(own) == held["trained.elbow"][c]


def test_training_without_dropout_reproduces_the_recorded_losses():
    held = recorded()
    labels = np.eye(3, dtype=bool)[np.load(golden("head_probe") / "features.npz")["ytr"]]
    network = load(held, "init.", JointNetwork(6, held["Xtr"].shape[2], 3, dropout=0.0))
    losses = train_network(network, lambda rows: held["Xtr"][rows], labels, epochs=20)
    (name,) = [one for one in held.files if "nodropout20" in one and "loss" in one and "train" in one.split(".")[-1]]
    np.testing.assert_allclose(losses, held[name], rtol=2e-3)


def test_recorded_features_train_to_what_their_classes_say():
    """The recorded data without the recorded networks: losses fall, and heads of the wrong shape are refused."""
    folder = golden("head_probe")
    told, held = json.loads((folder / "features.json").read_text()), np.load(folder / "features.npz")
    x, y = held["feat.topk.ctx.train"], held["ytr"]
    torch.manual_seed(0)
    network = JointNetwork(told["layers"] * told["heads"], x.shape[2], 3, dropout=0.0)
    losses = train_network(network, lambda rows: x[rows], np.eye(3, dtype=bool)[y], epochs=4)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("loss", ["ce", "bce"])
def test_the_head_that_carries_a_function_ranks_first(loss):
    found = joint_network(*planted(CARRIERS, strength=4.0), loss=loss, **FAST | {"epochs": 8})
    for function, layer, head in CARRIERS:
        own = found.of(function)
        assert np.unravel_index(own.argmax(), own.shape) == (layer, head)
        assert found.low[found.place(function), layer, head] > 0
    assert found.accuracy.low > found.control


def test_a_network_of_noise_is_no_better_than_networks_of_dealt_labels():
    found = joint_network(*planted(), **FAST)
    assert found.accuracy.low <= found.control
    assert (found.p_any.min(axis=(1, 2)) > 0.2).any()


def test_sign_sum_and_size_are_one_number_in_three_forms():
    found = joint_network(*planted(CARRIERS), **FAST)
    np.testing.assert_allclose(found.values, np.abs(found.signed))
    np.testing.assert_allclose(found.summed, found.signed * SHARED, rtol=1e-6)
    assert (found.low >= 0).all() and (found.low <= found.high).all()
    assert found.draws.shape == (60, 3, 2, 3) and (found.draws >= 0).all()


def test_the_seed_alone_decides_and_torchs_generator_stays():
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    first = joint_network(*planted(CARRIERS), **FAST, seed=2)
    assert torch.equal(torch.rand(3), wanted)
    np.testing.assert_array_equal(first.values, joint_network(*planted(CARRIERS), **FAST, seed=2).values)
    assert (first.values != joint_network(*planted(CARRIERS), **FAST, seed=3).values).any()


def test_importance_is_taken_on_held_out_items_alone():
    features, labels, groups = planted(CARRIERS)
    test = np.isin(groups, [f"q{own}" for own in range(30, 40)])
    found = joint_network(features, labels, groups, test=test, **FAST)
    assert found.samples == tuple(labels[test].sum(axis=0)) and found.settings["train"] == 120
    changed = features.copy()
    changed[test] *= 3
    again = joint_network(changed, labels, groups, test=test, **FAST)
    assert found.losses == again.losses and (found.values != again.values).any()


def test_a_main_question_on_both_sides_is_refused_with_counts():
    features, labels, groups = planted()
    test = np.isin(groups, ["q1", "q2"])
    test[[4, 12]] = [False, True]
    with pytest.raises(InputError, match="2 main questions are on both sides of the split, with 8 items"):
        joint_network(features, labels, groups, test=test, **FAST)
    with pytest.raises(InputError, match=r"test has shape \(3,\)"):
        joint_network(features, labels, groups, test=[True, False, True], **FAST)


def test_items_of_several_functions_need_their_main_one_or_bce():
    features, labels, groups = planted(CARRIERS)
    main = np.array(FUNCTIONS, dtype=object)[labels.argmax(axis=1)]
    several = labels.copy()
    several[:20, 1] = True
    with pytest.raises(InputError, match="of 160 have several or none: name the main one of each with primary"):
        joint_network(features, several, groups, **FAST)
    found = joint_network(features, several, groups, primary=main, **FAST)
    np.testing.assert_array_equal(found.values, joint_network(features, labels, groups, **FAST).values)
    assert joint_network(features, several, groups, loss="bce", **FAST).samples[1] >= found.samples[1]
    main[5] = FUNCTIONS[np.flatnonzero(~several[5])[0]]
    with pytest.raises(InputError, match="1 that are no function of their item"):
        joint_network(features, labels, groups, primary=main, **FAST)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"loss": "mse"}, "loss='mse' is not known: use one of ce, bce"),
        ({"epochs": 0}, "epochs 0 can not be used"),
        ({"batch": 1.5}, "batch 1.5 can not be used"),
        ({"shuffles": 0}, "shuffles 0 can not be used"),
        ({"rate": 0}, "rate=0 trains nothing"),
        ({"dropout": 1.0}, "dropout=1.0 trains nothing"),
        ({"decay": -0.1}, "decay=-0.1 trains nothing"),
    ],
)
def test_options_that_train_nothing_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        joint_network(*planted(), **FAST | change)

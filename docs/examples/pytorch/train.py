"""A PyTorch network that tells two spirals apart. It needs PyTorch, and nothing of alexsearch."""

import math

import torch
from torch import nn
from torch.nn import functional


def spirals(count, seed):
    """`count` noisy points, float32 (count, 2), of one spiral or the other, int64 (count,)."""
    generator = torch.Generator().manual_seed(seed)
    along = torch.rand(count, generator=generator).sqrt() * 3 * math.pi
    sides = torch.arange(count) % 2
    angle = along + sides * math.pi
    points = torch.stack([angle.cos(), angle.sin()], dim=1) * along[:, None] / 5
    return points + torch.randn(count, 2, generator=generator) * 0.03, sides


TRAIN, VALIDATION, TEST = spirals(1600, 1), spirals(400, 2), spirals(400, 3)


def build(width, layers):
    hidden = []
    for number in range(layers):
        hidden += [nn.Linear(2 if number == 0 else width, width), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(width, 2))


def train(trial):
    p = trial.params
    torch.manual_seed(trial.seed)
    points, sides = (torch.cat([TRAIN[i], VALIDATION[i]]) if trial.final else TRAIN[i] for i in (0, 1))
    held_out, held_out_sides = TEST if trial.final else VALIDATION
    points, sides = points.to(trial.device), sides.to(trial.device)
    held_out, held_out_sides = held_out.to(trial.device), held_out_sides.to(trial.device)

    net = build(p["width"], p["layers"]).to(trial.device)
    if p["optimizer"] == "sgd":
        optimizer = torch.optim.SGD(net.parameters(), lr=p["lr"], momentum=p["momentum"])
    else:
        optimizer = torch.optim.Adam(net.parameters(), lr=p["lr"])
    if folder := trial.restore():  # after a crash or a pause
        saved = torch.load(folder / "net.pt", map_location=trial.device, weights_only=True)
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])

    for epoch in trial.epochs():  # starts behind the last saved one
        net.train()
        total = 0.0
        order = torch.randperm(len(points), generator=torch.Generator().manual_seed(trial.seed + epoch))
        for batch in order.to(trial.device).split(32):
            loss = functional.cross_entropy(net(points[batch]), sides[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        net.eval()
        with torch.no_grad():
            accuracy = (net(held_out).argmax(dim=1) == held_out_sides).float().mean()
        state = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
        trial.save(lambda folder, state=state: torch.save(state, folder / "net.pt"))
        scores = {"test_accuracy" if trial.final else "val_accuracy": accuracy, "loss": total / len(points)}
        if not trial.report(epoch, **scores):
            return

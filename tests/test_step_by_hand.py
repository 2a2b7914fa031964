"""Every method's training step, computed a second time from the step's own batch.

The networks' forward passes are used as they are; what they are shown, what is made of their
answers, signs, weights, intervals and the optimizer are written down here again, from the papers'
equations and the flags. A wrong step does not raise: only this notices it.
"""

import copy
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate.state import AcceleratorState
from training_runs import fields

from inpaint_hub.data.pairs import draw_pair
from inpaint_hub.training import PRESETS, TrainConfig
from inpaint_hub.training.loop import Run, picture_generators, training_batches

# Unlike any default, so that no weight can stand for another.
WEIGHTS = {
    "valid_weight": 1.3,
    "hole_weight": 5.0,
    "perceptual_weight": 0.011,
    "style_weight": 0.023,
    "tv_weight": 0.17,
    "lambda_msr": 0.41,
    "lambda_fid": 0.29,
    "msr_min_size": 16,
    "learning_rate": 3e-3,
    "discr_learning_rate": 7e-3,
    "adam_beta1": 0.4,
    "adam_beta2": 0.95,
    "discr_adam_beta1": 0.3,
    "discr_adam_beta2": 0.9,
    "adam_epsilon": 1e-7,
    "max_grad_norm": 0.0,
}


def started(place, tmp_path, method, **options):
    """(run, batch of the first step)"""
    AcceleratorState._reset_state(True)
    run = Run(TrainConfig(**fields(place, tmp_path / "run", method, **{**WEIGHTS, **options})))
    masks = "mixture" if run.method.needs_masks else None
    batch = next(training_batches(run.config, run.pictures, masks, 0, 1, 0))
    batch.pop("unreadable")
    return run, batch


def generators(run, step=0, micro_batch=0):
    return picture_generators(run.config, step, micro_batch, 0)


class ByHand:
    """Adam of one network, written down again; `copied` is the network before the step."""

    def __init__(self, network, optimizer, learning_rate, beta1, beta2, eps=1e-7):
        self.network, self.optimizer = network, optimizer
        self.rate, self.beta1, self.beta2, self.eps = learning_rate, beta1, beta2, eps
        self.remember()

    def remember(self):
        self.copied = copy.deepcopy(self.network)
        self.moments = {
            n: (s["exp_avg"].clone(), s["exp_avg_sq"].clone(), int(s["step"]))
            for n, p in self.network.named_parameters()
            if (s := self.optimizer.state.get(p))
        }

    def check(self, loss, max_norm=None, rates=lambda name: 1.0):
        """That the network took Adam's step along the gradient of `loss`, a function of the copy's
        parameters; then that step is the next one's start."""
        trained = {n: p for n, p in self.copied.named_parameters() if p.requires_grad}
        found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
        now = dict(self.network.named_parameters())
        grads = {}
        for (name, parameter), gradient in zip(trained.items(), found):
            if gradient is not None:
                grads[name] = gradient
            elif now[name] in self.optimizer.state:  # a gradient of zero, for several processes
                grads[name] = torch.zeros_like(parameter)
        assert max(g.abs().max() for g in grads.values()) > 0
        if max_norm:
            norm = torch.cat([g.flatten() for g in grads.values()]).norm()
            assert norm > max_norm
            grads = {n: g * max_norm / (norm + 1e-6) for n, g in grads.items()}
        largest = max(float(g.abs().max()) for g in grads.values())
        for name, before in trained.items():
            if name not in grads:
                assert torch.equal(now[name], before), name
                continue
            m, v, steps = self.moments.get(name, (0.0, 0.0, 0))
            m = self.beta1 * m + (1 - self.beta1) * grads[name]
            v = self.beta2 * v + (1 - self.beta2) * grads[name] ** 2
            state = self.optimizer.state[now[name]]
            near = {"rtol": 2e-3, "atol": 1e-4 * largest}
            torch.testing.assert_close(state["exp_avg"], m, **near, msg=f"{name}: first moment")
            near["atol"] = 1e-4 * largest**2
            torch.testing.assert_close(state["exp_avg_sq"], v, **near, msg=f"{name}: second moment")
            m, v, steps = state["exp_avg"], state["exp_avg_sq"], steps + 1
            m, v = m / (1 - self.beta1**steps), v / (1 - self.beta2**steps)
            expected = before - self.rate * rates(name) * m / (v.sqrt() + self.eps)
            torch.testing.assert_close(now[name], expected.detach(), rtol=1e-4, atol=1e-6)
        self.remember()


def softplus(x):
    return torch.log1p(torch.exp(-x.abs())) + x.clamp(min=0)


def unit(x):
    return (x + 1) / 2


def pixel_mean(x):
    return x.sum() / x.numel()


def perceptual(maps, targets):
    return sum((a - b).abs().mean() for a, b in zip(maps, targets))


def style(maps, targets):
    total = 0
    for a, b in zip(maps, targets):
        n, c, h, w = a.shape
        grams = [torch.einsum("nchw,ndhw->ncd", x, x) for x in (a, b)]
        total = total + (grams[0] - grams[1]).abs().sum() / (n * c * c) / (c * h * w)
    return total


def inpainting(network, image, mask, generated, hole_weight=5.0):
    """InvertFill Eq. (4), RFR's terms, with WEIGHTS."""
    filled = image * (1 - mask) + generated * mask
    target, raw, pasted = unit(image), unit(generated), unit(filled)
    seen = [network(x) for x in (target, raw, pasted)]
    hole = pasted * mask
    tv = (hole[:, :, 1:] - hole[:, :, :-1]).abs().mean()
    tv = tv + (hole[:, :, :, 1:] - hole[:, :, :, :-1]).abs().mean()
    terms = {
        "valid_loss": pixel_mean((raw - target).abs() * (1 - mask)),
        "hole_loss": pixel_mean((raw - target).abs() * mask),
        "perceptual_loss": perceptual(seen[1], seen[0]) + perceptual(seen[2], seen[0]),
        "style_loss": style(seen[1], seen[0]) + style(seen[2], seen[0]),
        "tv_loss": tv,
    }
    weights = (1.3, hole_weight, 0.011, 0.023, 0.17)
    return sum(w * t for w, t in zip(weights, terms.values())), terms


def multi_scale(network, image, coarse):
    """InvertFill Eq. (5)."""
    total = 0
    for small in coarse:
        target = F.avg_pool2d(unit(image), image.shape[-1] // small.shape[-1])
        small = unit(small)
        total = total + ((small - target) ** 2).mean()
        if small.shape[-1] < 16:
            small, target = (
                F.interpolate(x, (16, 16), mode="bilinear", align_corners=False)
                for x in (small, target)
            )
        maps = network(small), network(target)
        total = total + 0.011 * perceptual(*maps) + 0.023 * style(*maps)
    return total


def logged(logs, expected):
    for name, value in expected.items():
        wanted = torch.as_tensor(value).item()
        assert float(logs[name]) == pytest.approx(wanted, rel=2e-3, abs=1e-6), name


def composite_of(batch, generated):
    return batch["image"] * (1 - batch["mask"]) + generated * batch["mask"]


def r1(discriminator, real, *mask):
    real = real.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(
        discriminator(real, *mask).sum(), real, create_graph=True
    )  # fmt: skip
    return (gradient**2).sum() / len(real)


def test_stylegan2(place, tmp_path):
    options = {"r1_gamma": 3.0, "r1_interval": 4, "path_length_interval": 2}
    options |= {"path_length_weight": 1.7, "style_mixing_probability": 0.6, "train_batch_size": 4}
    run, batch = started(place, tmp_path, "stylegan2", **options)
    method = run.method
    names = [[phase.__name__ for phase in method.phases(step)] for step in range(5)]
    lazy = ["train_discriminator", "penalize_discriminator", "train_generator"]
    assert names[0] == [*lazy, "regularize_paths"] == names[4]
    assert names[1] == names[3] == ["train_discriminator", "train_generator"]
    assert names[2] == ["train_discriminator", "train_generator", "regularize_paths"]
    (adversary,) = method.adversaries
    ratio = 4 / 5
    judge = ByHand(
        adversary.discriminator,
        adversary.optimizer,
        7e-3 * ratio,
        0.3**ratio,
        0.9**ratio,
    )
    ratio = 2 / 3
    maker = ByHand(method.gan, method.optimizer, 3e-3 * ratio, 0.4**ratio, 0.95**ratio)

    drawn = set()

    def pictures(gan, rng):
        z = torch.stack([torch.randn(16, generator=g) for g in rng])
        w = [gan.mapping(part) for part in (z[:, :8], z[:, 8:])]
        place, chance = torch.stack([torch.rand(2, generator=g) for g in rng]).T
        rows = gan.num_ws
        first = [
            1 + int(p * (rows - 1)) if c < 0.6 else rows
            for p, c in zip(place.tolist(), chance.tolist())
        ]
        drawn.update(first)
        ws = torch.stack(
            [torch.stack([w[row >= k][n] for row in range(rows)]) for n, k in enumerate(first)]
        )
        return gan.synthesis(ws, noise_mode="random", generator=rng), ws

    real, hand, rng = batch["image"], generators(run), generators(run)
    for phase in method.phases(0):
        logs = phase(batch, rng)
        if phase.__name__ == "train_discriminator":
            fake = pictures(maker.copied, hand)[0].detach()
            scores = [judge.copied(x) for x in (real, fake)]
            loss = softplus(-scores[0]).mean() + softplus(scores[1]).mean()
            logged(logs, {"discriminator_loss": loss, "real_score": scores[0].mean()})
            logged(logs, {"fake_score": scores[1].mean()})
            judge.check(loss)
        elif phase.__name__ == "penalize_discriminator":
            penalty = r1(judge.copied, real)
            logged(logs, {"r1_penalty": penalty})
            judge.check(3.0 / 2 * 4 * penalty)
        elif phase.__name__ == "train_generator":
            loss = softplus(-judge.copied(pictures(maker.copied, hand)[0])).mean()
            logged(logs, {"generator_loss": loss})
            maker.check(loss)
        else:
            half = hand[::2]
            made, ws = pictures(maker.copied, half)
            noise = torch.stack([torch.randn(3 * 32 * 32, generator=g) for g in half])
            (moved,) = torch.autograd.grad(
                (made * noise.view_as(made)).sum() / 32, ws, create_graph=True
            )
            lengths = (moved**2).sum(dim=2).mean(dim=1).sqrt()
            mean = 0.01 * lengths.mean().detach()
            logged(logs, {"path_length": lengths.mean()})
            maker.check(1.7 * 2 * ((lengths - mean) ** 2).mean())
    assert len(drawn) > 1 and max(drawn) == method.gan.num_ws  # some were mixed, some not
    assert method.adversaries.members[0][0] == 1.0


def test_ada_is_told_the_sign_of_every_step(place, tmp_path):
    options = {"augment": "ada", "ada_interval": 8, "r1_gamma": 0.0, "train_batch_size": 4}
    run, batch = started(place, tmp_path, "stylegan2", **options)
    (adversary,) = run.method.adversaries
    judge, signs = adversary.discriminator, 0.0
    for step in range(2):
        with torch.no_grad():
            signs += judge(batch["image"]).sign().mean().item()
        logs = run.method.phases(1)[0](batch, generators(run, step))
        assert float(logs["augment_probability"]) == 0.0
    assert adversary.adaptive.steps == 2
    assert adversary.adaptive.sign_sum == pytest.approx(signs)


def mean_latents(gan, num_samples, tau, seed=0):
    """The first targets of SML and the online latent after n steps."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        draws = [gan.mapping(torch.randn(num_samples, 8, generator=rng)).mean(0) for _ in range(2)]
    return lambda n: draws[1] + (1 - tau) ** n * (draws[0] - draws[1])


@pytest.mark.parametrize("noise", ["none", "fine"])
def test_invertfill(place, tmp_path, noise):
    options = {"adversarial_weight": 0.6, "r1_gamma": 3.0, "r1_interval": 3, "sml_tau": 0.2}
    options |= {"sml_num_mean_samples": 5, "noise_levels": noise, "max_grad_norm": 0.05}
    run, batch = started(place, tmp_path, "invertfill", **options)
    method, image, mask = run.method, batch["image"], batch["mask"]
    names = [[phase.__name__ for phase in method.phases(step)] for step in range(4)]
    assert names[0] == names[3] == ["penalize_discriminator", "train_networks"]
    assert names[1] == names[2] == ["train_networks"]
    (adversary,) = method.adversaries
    ratio = 3 / 4
    judge = ByHand(
        adversary.discriminator, adversary.optimizer, 7e-3 * ratio, 0.3**ratio, 0.9**ratio
    )
    maker = ByHand(method.networks, method.optimizer, 3e-3, 0.4, 0.95)
    gan, network = maker.copied.gan, method.network
    with torch.no_grad():
        w = gan.mapping(torch.randn(10_000, 8, generator=torch.Generator().manual_seed(0)))
    latents = mean_latents(gan, 5, 0.2)
    for layer in maker.copied.encoder.pre_modulation:  # every row starts at w's mean
        torch.testing.assert_close(layer.beta.bias.detach(), w.mean(dim=0))
    torch.testing.assert_close(maker.copied.encoder.w_avg, w.mean(dim=0))

    for step in range(2):
        rng, hand = generators(run, step), generators(run, step)
        phases = method.phases(step)
        if step == 0:
            logs = phases.pop(0)(batch, rng)
            penalty = r1(judge.copied, image, mask)
            logged(logs, {"r1_penalty": penalty})
            judge.check(3.0 / 2 * 3 * penalty)
        logs = phases[0](batch, rng)
        masked = image * (1 - mask)
        encoder = maker.copied.encoder
        z = torch.stack([torch.randn(8, generator=g) for g in hand]) if noise == "fine" else None
        code = encoder(masked, mask)
        ws = code.latent.ws
        if noise == "fine":
            moved = torch.zeros_like(ws)
            rows = len(encoder.noise_gate)
            moved[:, -rows:] = encoder.noise_gate * (gan.mapping(z) - gan.w_avg)[:, None]
            ws = ws + moved
        generated = maker.copied.gan.synthesis(
            ws, code.latent.features, None, noise_mode="random", generator=hand
        )
        loss, terms = inpainting(network, image, mask, generated)
        terms["multi_scale_loss"] = multi_scale(network, image, code.coarse)
        target = latents(step)
        terms["fidelity_loss"] = (((code.latent.ws - target) / w.std(dim=0)) ** 2).mean()
        loss = loss + 0.41 * terms["multi_scale_loss"] + 0.29 * terms["fidelity_loss"]
        filled = composite_of(batch, generated)
        scores = judge.copied(image, mask), judge.copied(filled.detach(), mask)
        judged = softplus(-scores[0]).mean() + softplus(scores[1]).mean()
        judge.check(judged)
        fooled = softplus(-judge.copied(filled, mask)).mean()
        logged(logs, {**terms, "discriminator_loss": judged, "adversarial_loss": fooled})
        logged(logs, {"loss": loss + 0.6 * fooled, "real_score": scores[0].mean()})
        maker.check(loss + 0.6 * fooled, max_norm=0.05)
        method.after_step(step + 1)
        torch.testing.assert_close(method.mean_latent.w_bar_online, latents(step + 1))
        maker.remember()


@pytest.mark.parametrize(
    "mode, weight", [("static", 0.29), ("off", 0.0), ("offset", 0.0), ("loss", 0.29)]
)
def test_sml_modes(place, tmp_path, mode, weight):
    """The fidelity loss pulls to w_avg, to nothing, or to the soft-update mean, which as an offset
    is added to the codes."""
    run, batch = started(place, tmp_path, "invertfill", sml_mode=mode, sml_tau=0.2)
    method, image, mask = run.method, batch["image"], batch["mask"]
    maker = ByHand(method.networks, method.optimizer, 3e-3, 0.4, 0.95)
    gan = maker.copied.gan
    with torch.no_grad():
        w = gan.mapping(torch.randn(10_000, 8, generator=torch.Generator().manual_seed(0)))
    soft = mean_latents(gan, 16, 0.2)(0)
    (phase,) = method.phases(1)
    logs = phase(batch, generators(run))
    mean = soft if mode == "offset" else None
    code = maker.copied.encoder(image * (1 - mask), mask, mean_latent=mean)
    generated = gan.synthesis(
        code.latent.ws, code.latent.features, noise_mode="random", generator=generators(run)
    )
    loss, terms = inpainting(method.network, image, mask, generated)
    target = w.mean(dim=0) if mode in ("static", "off") else soft
    fidelity = (((code.latent.ws - target) / w.std(dim=0)) ** 2).mean()
    loss = loss + 0.41 * multi_scale(method.network, image, code.coarse) + weight * fidelity
    logged(logs, {"fidelity_loss": fidelity, "loss": loss})
    maker.check(loss)


@pytest.mark.parametrize("method_name", ["psp", "lahiri"])
def test_psp_and_lahiri_over_two_micro_batches(place, tmp_path, method_name):
    options = {"gradient_accumulation_steps": 2, "scale_lr": True, "adversarial_weight": 0.0}
    run, _ = started(place, tmp_path, method_name, **options)
    method = run.method
    maker = ByHand(method.networks, method.optimizer, 3e-3 * 4, 0.4, 0.95)
    arguments = (run.config, run.pictures, "mixture", 0, 1, 0)
    batches = training_batches(*arguments)
    loss = 0
    for micro_batch in range(2):
        batch, rng = next(batches), generators(run, 0, micro_batch)
        image, mask = batch["image"], batch["mask"]
        code = maker.copied.encoder(image * (1 - mask), mask)
        if method_name == "lahiri":
            ws = maker.copied.gan.mapping(code)[:, None].expand(-1, maker.copied.gan.num_ws, -1)
        else:
            ws = code
        generated = maker.copied.gan.synthesis(ws, noise_mode="random", generator=rng)
        squared = ((unit(generated) - unit(image)) ** 2).mean()
        seen = perceptual(method.network(unit(generated)), method.network(unit(image)))
        loss = loss + (5.0 * squared + 0.011 * seen) / 2

    class Silent:
        def next(self, batches):
            return next(batches)

        def note(self, batch):
            batch.pop("unreadable")

        def add(self, logs):
            self.logs = logs

    silent = Silent()
    run.take_step(training_batches(*arguments), silent, silent, silent)
    assert run.progress.step == 1
    maker.check(loss)


@pytest.mark.parametrize("method_name", ["psp", "lahiri"])
def test_psp_by_its_own_objective(place, tmp_path, method_name):
    """Richardson et al.: L2 of pictures in [-1,1], LPIPS's form, cosine of deep features, w-norm,
    on the whole picture, known part and hole alike."""
    own = {"pixel_weight": 1.9, "lpips_weight": 0.7, "identity_weight": 0.31, "w_norm_weight": 0.23}
    own |= {"psp_objective": "psp", "mask_channel": False, "adversarial_weight": 0.0}
    run, batch = started(place, tmp_path, method_name, **own)
    method, image, mask = run.method, batch["image"], batch["mask"]
    maker = ByHand(method.networks, method.optimizer, 3e-3, 0.4, 0.95)
    encoder, gan = maker.copied.encoder, maker.copied.gan
    shown = {}
    method.networks.encoder.register_forward_pre_hook(
        lambda module, given: shown.update(picture=given[0])
    )
    with torch.no_grad():
        w = gan.mapping(torch.randn(10_000, 8, generator=torch.Generator().manual_seed(0)))
    (phase,) = method.phases(0)
    logs = phase(batch, generators(run))
    masked = image * (1 - mask)
    assert torch.equal(shown["picture"], masked)
    code = encoder(masked, torch.full_like(mask, 0.5))  # the mask is no input of it
    rows = gan.num_ws
    ws = gan.mapping(code)[:, None].expand(-1, rows, -1) if method_name == "lahiri" else code
    generated = gan.synthesis(ws, noise_mode="random", generator=generators(run))
    maps, targets = method.network(unit(generated)), method.network(unit(image))
    lpips, cosines = 0, 0
    for a, b in zip(maps, targets):
        lengths = [(m**2).sum(dim=1, keepdim=True).sqrt() for m in (a, b)]
        lpips = lpips + ((a / lengths[0] - b / lengths[1]) ** 2).sum() / a[:, :1].numel()
    for a, b in zip(maps[-1], targets[-1]):
        a, b = a.flatten(1).mean(dim=1), b.flatten(1).mean(dim=1)
        cosines = cosines + (a @ b) / (a @ a).sqrt() / (b @ b).sqrt() / len(image)
    terms = {
        "reconstruction_loss": ((generated - image) ** 2).mean(),
        "perceptual_loss": lpips,
        "identity_loss": 1 - cosines,
        "w_norm_loss": sum(((row - w.mean(dim=0)) ** 2).sum().sqrt() for row in ws) / len(ws),
    }
    loss = sum(weight * term for weight, term in zip((1.9, 0.7, 0.31, 0.23), terms.values()))
    logged(logs, {**terms, "loss": loss})
    maker.check(loss)


def with_coarse_fill(coarse, masked, mask, hand):
    """What a refiner is shown: the fill of the whole pipeline `coarse`, of half the side, made of
    those of its pixels that are known as a whole, twice as large in the hole."""
    hole = F.max_pool2d(mask, 2)
    known = F.avg_pool2d(masked, 2) * (1 - hole)
    with torch.no_grad():
        ws = coarse.encoder(known, hole)
        made = coarse.gan.synthesis(ws, noise_mode="random", generator=hand)
    made = F.interpolate(made, scale_factor=2, mode="bicubic").clamp(-1, 1)
    return masked + made * mask


@pytest.mark.parametrize("name", ["feedforward", "refinement"])
def test_feed_forward_path_alone(place, tmp_path, name):
    """Its whole step: what it is shown, L_ipt, SN-PatchGAN (logistic) and projected heads (hinge)
    on composites, known places counting as real; hole_weight on its way to hole_weight_end."""
    options = {"adversarial_weight": 0.6, "projected_weight": 0.35, "hole_weight_end": 2.0}
    options |= {"projected_learning_rate": 4e-3, "max_train_steps": 4, "max_grad_norm": 0.05}
    run, batch = started(place, tmp_path, name, **options)
    method, image, mask = run.method, batch["image"], batch["mask"]
    patches, heads = method.adversaries
    assert [weight for weight, _ in method.adversaries.members] == [0.6, 0.35]
    judge = ByHand(patches.discriminator, patches.optimizer, 7e-3, 0.3, 0.9)
    maker = ByHand(method.networks, method.optimizer, 3e-3, 0.4, 0.95)
    network = heads.network
    with torch.no_grad():
        rms = [m.square().mean().sqrt() for m in network(unit(image))]
    heads.discriminator.calibrate(torch.stack(rms) ** 2)
    seer = ByHand(heads.discriminator, heads.optimizer, 4e-3, 0.3, 0.9)
    shown = {}
    method.networks.register_forward_pre_hook(
        lambda module, given: shown.update(masked=given[0], mask=given[1])
    )

    def hole_of(logits):
        return F.adaptive_max_pool2d(mask, logits.shape[-2:])

    def judged(real, fake, wrong):
        """wrong(x): the loss of logits that should be below zero; its mirror's, of those above."""
        hole = hole_of(fake)
        return wrong(-real).mean() + (hole * wrong(fake) + (1 - hole) * wrong(-fake)).mean()

    def fooled(fake, of):
        return (of(-fake) * hole_of(fake)).sum() / hole_of(fake).sum()

    def hinge(x):
        return F.relu(1 + x)

    def through_heads(pictures):
        return seer.copied(network(unit(pictures)), pictures, mask)

    # 4 steps: 5 until half of them, then evenly to 2 at the last
    for step, hole_weight in ((0, 5.0), (2, 5.0), (3, 2.0)):
        (phase,) = method.phases(step)
        logs = phase(batch, generators(run, step))
        masked = image * (1 - mask)
        if name == "refinement":
            masked = with_coarse_fill(method.coarse, masked, mask, generators(run, step))
        torch.testing.assert_close(shown["masked"], masked, rtol=0, atol=1e-5)
        assert torch.equal(shown["mask"], mask)
        generated = maker.copied(masked, mask)
        loss, terms = inpainting(method.network, image, mask, generated, hole_weight)
        filled = composite_of(batch, generated)
        scores = [judge.copied(x, mask) for x in (image, filled.detach())]
        scores = judged(*scores, softplus)
        judge.check(scores)
        pairs = zip(through_heads(image), through_heads(filled.detach()))
        seen = torch.stack([judged(*pair, hinge) for pair in pairs]).mean()
        seer.check(seen)
        patch = fooled(judge.copied(filled, mask), softplus)
        head = torch.stack([fooled(x, lambda y: y) for x in through_heads(filled)]).mean()
        total = loss + 0.6 * patch + 0.35 * head
        logged(logs, {**terms, "discriminator_loss": scores, "projected_discriminator_loss": seen})
        logged(logs, {"adversarial_loss": patch, "projected_adversarial_loss": head})
        logged(logs, {"loss": total})
        maker.check(total, max_norm=0.05)
        method.after_step(step + 1)
        for one in (judge, seer, maker):
            one.remember()


@pytest.mark.parametrize("known_is_real", [False, True])
def test_dual_path(place, tmp_path, known_is_real):
    options = {"adversarial_weight": 0.6, "projected_weight": 0.35, "adversarial_loss": "hinge"}
    options |= {"known_is_real": known_is_real, "projected_learning_rate": 4e-3}
    run, batch = started(place, tmp_path, "dualpath", **options)
    method, image, mask = run.method, batch["image"], batch["mask"]
    patches, heads = method.adversaries
    weights = [weight for weight, _ in method.adversaries.members]
    assert weights == [0.6, 0.35]
    judge = ByHand(patches.discriminator, patches.optimizer, 7e-3, 0.3, 0.9)
    maker = ByHand(method.networks, method.optimizer, 3e-3, 0.4, 0.95)
    shown = {}
    method.networks.inpainter.register_forward_pre_hook(
        lambda module, given: shown.update(masked=given[0], mask=given[1])
    )

    network = heads.network
    with torch.no_grad():
        rms = [m.square().mean().sqrt() for m in network(unit(image))]
    heads.discriminator.calibrate(torch.stack(rms) ** 2)
    seer = ByHand(heads.discriminator, heads.optimizer, 4e-3, 0.3, 0.9)

    for step in range(2):
        (phase,) = method.phases(step)
        logs = phase(batch, generators(run, step))
        masked = image * (1 - mask)
        assert torch.equal(shown["masked"], masked) and torch.equal(shown["mask"], mask)
        copied, hand = maker.copied, generators(run, step)
        with torch.no_grad():
            ws = copied.encoder(masked, mask)
            _, features = copied.gan.synthesis(
                ws, noise_mode="random", generator=hand, return_features=True
            )
        generated = copied.inpainter(masked, mask, features)
        loss, terms = inpainting(method.network, image, mask, generated)
        filled = composite_of(batch, generated)

        def split(logits):
            """Mean over the hole's logits, and over the known ones', as shares of all."""
            hole = F.adaptive_max_pool2d(mask, logits.shape[-2:])
            return hole if known_is_real else torch.ones_like(hole)

        def hinge(real, fake):
            hole = split(fake)
            wrong = hole * F.relu(1 + fake) + (1 - hole) * F.relu(1 - fake)
            return F.relu(1 - real).mean() + wrong.mean()

        def fooled(fake):
            hole = split(fake)
            return -(fake * hole).sum() / hole.sum()

        def through_heads(pictures):
            return seer.copied(network(unit(pictures)), pictures, mask)

        judged = hinge(judge.copied(image, mask), judge.copied(filled.detach(), mask))
        judge.check(judged)
        pairs = zip(through_heads(image), through_heads(filled.detach()))
        seen = torch.stack([hinge(real, fake) for real, fake in pairs]).mean()
        seer.check(seen)
        patch = fooled(judge.copied(filled, mask))
        head = torch.stack([fooled(x) for x in through_heads(filled)]).mean()
        logged(logs, {**terms, "discriminator_loss": judged, "projected_discriminator_loss": seen})
        logged(logs, {"adversarial_loss": patch, "projected_adversarial_loss": head})
        maker.check(loss + 0.6 * patch + 0.35 * head)
        norms = {n: b for n, b in patches.discriminator.named_buffers() if n.endswith("right")}
        before = {n: b.clone() for n, b in norms.items()}
        method.after_step(step + 1)  # spectral norms follow the weights, once in a step
        for name, buffer in before.items():
            assert not torch.equal(patches.discriminator.get_buffer(name), buffer)
        for one in (judge, seer, maker):
            one.remember()


def test_dual_path_trained_jointly_moves_the_encoder_more_slowly(place, tmp_path):
    options = {"train_inversion": True, "inversion_lr_scale": 0.2, "adversarial_weight": 0.0}
    run, batch = started(place, tmp_path, "dualpath", **options)
    method, image, mask = run.method, batch["image"], batch["mask"]
    maker = ByHand(method.networks, method.optimizer, 3e-3, 0.4, 0.95)
    (phase,) = method.phases(0)
    phase(batch, generators(run))
    masked, copied = image * (1 - mask), maker.copied
    inverted, features = copied.gan.synthesis(
        copied.encoder(masked, mask),
        noise_mode="random",
        generator=generators(run),
        return_features=True,
    )
    loss, _ = inpainting(method.network, image, mask, copied.inpainter(masked, mask, features))
    loss = loss + 0 * inverted.sum()
    maker.check(loss, rates=lambda name: 0.2 if name.startswith("encoder") else 1.0)


def test_comodgan(place, tmp_path):
    gan = {"global_dim": 8, "r1_gamma": 3.0, "r1_interval": 4, "pretrained_model_name_or_path": ""}
    run, batch = started(place, tmp_path, "comodgan", **gan)
    method, image, mask = run.method, batch["image"], batch["mask"]
    names = [[phase.__name__ for phase in method.phases(step)] for step in (0, 1, 4)]
    assert names[0] == names[2] == [
        "train_discriminator", "penalize_discriminator", "train_generator"
    ]  # fmt: skip
    assert names[1] == ["train_discriminator", "train_generator"]
    (adversary,) = method.adversaries
    ratio = 4 / 5
    judge = ByHand(
        adversary.discriminator, adversary.optimizer, 7e-3 * ratio, 0.3**ratio, 0.9**ratio
    )
    maker = ByHand(method.gan, method.optimizer, 3e-3, 0.4, 0.95)
    shown = []
    method.gan.register_forward_pre_hook(lambda module, given: shown.append(given))
    rng, hand = generators(run), generators(run)

    def made():
        z = torch.stack([torch.randn(8, generator=g) for g in hand])
        masked = image * (1 - mask)
        picture = maker.copied(masked, mask, z, noise_mode="random", generator=hand)
        assert torch.equal(shown[-1][0], masked) and torch.equal(shown[-1][1], mask)
        torch.testing.assert_close(picture * (1 - mask), masked)
        return picture

    for phase in method.phases(0):
        logs = phase(batch, rng)
        if phase.__name__ == "train_discriminator":
            fake = made().detach()
            scores = judge.copied(image, mask), judge.copied(fake, mask)
            loss = softplus(-scores[0]).mean() + softplus(scores[1]).mean()
            logged(logs, {"discriminator_loss": loss})
            judge.check(loss)
        elif phase.__name__ == "penalize_discriminator":
            judge.check(3.0 / 2 * 4 * r1(judge.copied, image, mask))
        else:
            loss = softplus(-judge.copied(made(), mask)).mean()
            logged(logs, {"generator_loss": loss})
            maker.check(loss)


def test_psp_starts_from_the_generators_mean(place, tmp_path):
    run, _ = started(place, tmp_path, "psp")
    gan = run.method.networks.gan
    with torch.no_grad():
        w = gan.mapping(torch.randn(10_000, 8, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(run.method.networks.encoder.w_avg, w.mean(dim=0))


class Scripted:
    """A numpy Generator whose random() gives what is written."""

    def __init__(self, *values):
        self.values = list(values)

    def random(self):
        return self.values.pop(0)


@pytest.mark.parametrize("flipped", [(False, True), (True, False), (True, True), (False, False)])
def test_picture_and_mask_are_flipped_apart(flipped):
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    mask = np.arange(16).reshape(4, 4) % 3 == 0
    rng = Scripted(*(0.2 if f else 0.7 for f in flipped))
    pair = draw_pair(pixels, rng, True, lambda size, rng: mask)
    image = pixels[:, ::-1] if flipped[0] else pixels
    expected = torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 127.5 - 1
    torch.testing.assert_close(pair["image"], expected)
    hole = mask[:, ::-1] if flipped[1] else mask
    assert np.array_equal(pair["mask"][0].bool().numpy(), hole) and not rng.values
    still = draw_pair(pixels, Scripted(), False, None)
    assert still.keys() == {"image"} and still["image"][0, 0, 0] == -1


# What the papers and their programs print, for the presets that stand for them.
PAPERS = {
    "paper": {  # InvertFill; L_ipt's weights are RFR's (SPEC A9.1), Adam and tail RFR's (SPEC A10)
        "method": "invertfill",
        "backbone": "irse50",
        "backbone_width": 64,
        "style_channels": 512,
        "train_batch_size": 8,
        "learning_rate": 1e-4,
        "tail_fraction": 0.2,
        "tail_lr_scale": 0.1,
        "max_train_steps": 300_000,
        "perceptual_network": "vgg16",
        "valid_weight": 1.0,
        "hole_weight": 6.0,
        "perceptual_weight": 0.05,
        "style_weight": 120.0,
        "tv_weight": 0.1,
        "premodulation": True,
        "fw_mode": "feature",
        "sml_mode": "loss",
        "sml_tau": 0.001,
        "adversarial_weight": 0.0,
        "projected_weight": 0.0,
        "train_generator": "none",
        "noise_levels": "none",
    },
    "faces256_gan": {  # NVIDIA's paper256 (SPEC C6)
        "method": "stylegan2",
        "resolution": 256,
        "channel_base": 16384,
        "channel_max": 512,
        "z_dim": 512,
        "w_dim": 512,
        "num_mapping_layers": 8,
        "train_batch_size": 64,
        "learning_rate": 2.5e-3,
        "discr_learning_rate": 2.5e-3,
        "adam_beta1": 0.0,
        "adam_beta2": 0.99,
        "discr_adam_beta1": 0.0,
        "discr_adam_beta2": 0.99,
        "adam_epsilon": 1e-8,
        "max_grad_norm": 0.0,
        "ema_half_life_images": 20_000,
        "r1_gamma": 1.0,
        "r1_interval": 16,
        "path_length_weight": 2.0,
        "path_length_interval": 4,
        "path_length_decay": 0.01,
        "style_mixing_probability": 0.9,
        "mbstd_group_size": 4,
        "augment": "ada",
        "ada_target": 0.6,
        "ada_interval": 4,
        "ada_images": 500_000,
        "adversarial_loss": "logistic",
    },
    "faces64_dualpath": {  # SN-PatchGAN beside RFR's pixel terms (SPEC B5, B6)
        "method": "dualpath",
        "valid_weight": 1.0,
        "hole_weight": 6.0,
        "tv_weight": 0.1,
        "fusion": "deformable",
        "deform": "v2",
        "train_inversion": False,
        "adversarial_weight": 0.1,
        "discriminator": "patch",
        "adversarial_loss": "logistic",
        "r1_gamma": 0.0,
        "projected_weight": 0.0,
    },
}


@pytest.mark.parametrize("name", PAPERS)
def test_presets_have_the_papers_numbers(name):
    preset = PRESETS[name]()
    given = {"train_data_dir": "d", "output_dir": "o", "pretrained_model_name_or_path": "g"}
    config = vars(TrainConfig(**{**given, **preset}))
    assert {key: config[key] for key in PAPERS[name]} == PAPERS[name]


def test_presets_are_those_that_were_run(request):
    """Every field of every preset, so that a change is one on purpose: fixtures/presets.json."""
    presets = {name: preset() for name, preset in PRESETS.items()}
    file = request.path.parent / "fixtures" / "presets.json"
    assert json.loads(file.read_text(encoding="utf-8")) == presets


@pytest.mark.parametrize(
    "name", ["faces64_invertfill", "faces128_invertfill", "faces128_plus", "adapt"]
)
def test_small_presets_reach_ten_mean_latents(name):
    preset = PRESETS[name]()
    steps = np.ceil(np.log(0.05) / np.log(1 - preset["sml_tau"]))
    assert preset["max_train_steps"] / steps >= 10

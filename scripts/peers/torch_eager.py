#!/usr/bin/env python3
"""Speed peer: Algorithm 1 in eager PyTorch with the published MNIST set-up (batch 200, 5 critic steps, T = 5, h = 1) on random images.

Back-propagates through the flow and simulates every critic batch on its own, as the released code does. Prints the median seconds per outer
iteration: processor time, then wall-clock time. --compile takes whole objectives with their gradients through torch.compile."""
import argparse
import math
import time

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--device", default="cpu")
parser.add_argument("--iterations", type=int, default=10)
parser.add_argument("--batch", type=int, default=200)
parser.add_argument("--threads", type=int, help="threads of torch's pool (default: torch's own choice)")
parser.add_argument("--tf32", action="store_true", help="TF32 products on CUDA (default: full single precision)")
parser.add_argument("--compile", action="store_true", help="objectives and their gradients through torch.compile")
arguments = parser.parse_args()
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = arguments.tf32
LAMBDA, STEPS, H, LIPSCHITZ, WEIGHT = 0.05, 5, 1.0, 1.0, 0.1
if arguments.threads:
    torch.set_num_threads(arguments.threads)
device, batch = arguments.device, arguments.batch
torch.manual_seed(1)
images = torch.rand(6000, 1, 28, 28, device=device)


class Network(nn.Module):
    def __init__(self, width, time_inputs):
        super().__init__()
        self.convolutions = nn.ModuleList([nn.Conv2d(c, 8, 7, padding=3, bias=False) for c in (1, 8)])
        widths = [392 + time_inputs, width, width, width, 1]
        self.dense = nn.ModuleList([nn.Linear(a, b) for a, b in zip(widths, widths[1:])])
        for module in [*self.convolutions, *self.dense]:
            nn.init.xavier_normal_(module.weight)
        for layer in self.dense:
            nn.init.zeros_(layer.bias)

    def forward(self, x, t=None):
        for convolution in self.convolutions:
            x = F.max_pool2d(F.relu(convolution(x)), 2)
        x = x.flatten(1)
        if t is not None:
            x = torch.cat([x, torch.full((len(x), 1), t, device=x.device)], 1)
        for layer in self.dense[:-1]:
            x = F.relu(layer(x))
        return self.dense[-1](x)[:, 0]


potential, critic = Network(512, 1).to(device), Network(256, 0).to(device)
potential_adam = torch.optim.Adam(potential.parameters(), lr=5e-4, betas=(0.5, 0.9))
critic_adam = torch.optim.Adam(critic.parameters(), lr=1e-4, betas=(0.5, 0.9))


def flow(x, graph):
    energy = 0.0
    for k in range(STEPS):
        x = x if x.requires_grad else x.requires_grad_()
        (slope,) = torch.autograd.grad(potential(x, k * H).sum(), x, create_graph=graph)
        velocity = -slope / LAMBDA
        energy = energy + H * 0.5 * velocity.flatten(1).square().sum(1).mean()
        x = x + H * velocity
        x = x if graph else x.detach()
    return x, energy


def critic_loss(values, data_values, slope):
    penalty = F.relu(slope.flatten(1).square().sum(1) - LIPSCHITZ**2).mean()
    bound = values.mean() - torch.logsumexp(data_values, 0) + math.log(batch)
    return WEIGHT * penalty - bound


def draw():
    return torch.rand(batch, 1, 28, 28, device=device) * 0.5


def eager_step():
    for _ in range(5):
        generated, _ = flow(draw(), graph=False)
        data = images[torch.randint(len(images), (batch,), device=device)]
        u = torch.rand(batch, 1, 1, 1, device=device)
        between = (u * data + (1 - u) * generated).requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        critic_adam.zero_grad()
        critic_loss(critic(generated), critic(data), slope).backward()
        critic_adam.step()
    generated, energy = flow(draw(), graph=True)
    potential_adam.zero_grad()
    (critic(generated).mean() + LAMBDA * energy).backward()
    potential_adam.step()


# torch.compile refuses to differentiate a compiled gradient once more, so whole objectives are compiled with their gradients inside (torch.func).
def functional_flow(weights, x):
    slope_of = torch.func.grad(lambda x, t: torch.func.functional_call(potential, weights, (x, t)).sum())
    energy = 0.0
    for k in range(STEPS):
        velocity = -slope_of(x, k * H) / LAMBDA
        energy = energy + H * 0.5 * velocity.flatten(1).square().sum(1).mean()
        x = x + H * velocity
    return x, energy


def functional_critic(weights, generated, data, u):
    phi = lambda x: torch.func.functional_call(critic, weights, (x,))
    slope = torch.func.grad(lambda x: phi(x).sum())(u * data + (1 - u) * generated)
    return critic_loss(phi(generated), phi(data), slope)


def functional_potential(weights, critic_weights, x):
    generated, energy = functional_flow(weights, x)
    return torch.func.functional_call(critic, critic_weights, (generated,)).mean() + LAMBDA * energy


def compiled_step():
    weights = {name: value.detach() for name, value in potential.named_parameters()}
    for _ in range(5):
        generated, _ = simulate(weights, draw())
        data = images[torch.randint(len(images), (batch,), device=device)]
        critic_weights = {name: value.detach() for name, value in critic.named_parameters()}
        apply(critic, critic_adam, critic_gradient(critic_weights, generated, data, torch.rand(batch, 1, 1, 1, device=device)))
    critic_weights = {name: value.detach() for name, value in critic.named_parameters()}
    apply(potential, potential_adam, potential_gradient(weights, critic_weights, draw()))


def apply(network, adam, gradient):
    for name, value in network.named_parameters():
        value.grad = gradient[name]
    adam.step()


outer_step = eager_step
if arguments.compile:
    simulate = torch.no_grad()(torch.compile(functional_flow))
    critic_gradient = torch.no_grad()(torch.compile(torch.func.grad(functional_critic)))
    potential_gradient = torch.no_grad()(torch.compile(torch.func.grad(functional_potential)))
    outer_step = compiled_step

seconds = []
for iteration in range(arguments.iterations + 2):
    if device != "cpu":
        torch.cuda.synchronize()
    start, busy = time.perf_counter(), time.process_time()
    outer_step()
    if device != "cpu":
        torch.cuda.synchronize()
    if iteration >= 2:
        seconds.append((time.process_time() - busy, time.perf_counter() - start))
processor, wall = (sorted(column)[len(seconds) // 2] for column in zip(*seconds))
print(f"{processor:.4f} {wall:.4f}")

//! A trained flow against the certified optimum, on R^d and on the torus, with W1 active and inactive.

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "trained_flow",
    statement: "Algorithm 1 learns the optimal flow: its objective reaches the certified J*, its paths become straight, its \
                Hamilton-Jacobi residual falls, its endpoints lose their dependence on the step, and where W1 is active its \
                terminal condition holds.",
    equations: &[(22, 29), (39, 44)],
    notation: &["2.1", "4", "5"],
    quantities: &[
        Quantity {
            name: "excess",
            what: "(J - J*) / J* of the 40-step flow, both certified on the same fixed stratified samples of logistic laws: line, \
                   plane and circle, W1 inactive and active; 2-D torus, W1 inactive; learning rates falling linearly to zero",
            bound: Bound::AtMost(0.05),
            basis: Basis::Requirement("5%, stated in advance"),
        },
        Quantity {
            name: "infimum",
            what: "J - J*",
            bound: Bound::AtLeast(-1e-6),
            basis: Basis::Exact("J* is the infimum; positions are f32"),
        },
        Quantity {
            name: "straightness",
            what: "E[length / distance] of the 40-step flow",
            bound: Bound::AtMost(1.05),
            basis: Basis::Requirement("5%, stated in advance"),
        },
        Quantity {
            name: "Hamilton-Jacobi residual, after / before",
            what: "gauged, over lambda K: end of the training over its beginning",
            bound: Bound::AtMost(0.5),
            basis: Basis::Requirement("training must at least halve it"),
        },
        Quantity {
            name: "Hamilton-Jacobi residual, after / early",
            what: "the same over an eighth of the training",
            bound: Bound::AtMost(1.0),
            basis: Basis::Requirement("once the flow moves it must go on falling"),
        },
        Quantity {
            name: "terminal residual",
            what: "E|grad U(x_N, T) - grad phi(x_N)| / L where W1 carries more than half of the mass",
            bound: Bound::AtMost(0.2),
            basis: Basis::Requirement("a fifth of L, the slope of both sides where W1 is active"),
        },
    ],
    removals: &[
        Removal {
            name: "training",
            what: "the flow before it",
            breaks: &["excess", "Hamilton-Jacobi residual, after / before"],
        },
        Removal {
            name: "kinetic term",
            what: "case w1, on the line with W1 inactive",
            breaks: &["excess"],
        },
        Removal {
            name: "sign of the terminal condition",
            what: "-phi in the place of phi after training, on the line with W1 active",
            breaks: &["terminal residual"],
        },
    ],
    measure,
};

#[cfg(not(feature = "torch"))]
fn measure(_: &Setting, _: Mechanism) -> Result<Measured, CheckError> {
    Err(CheckError::NotApplicable("built without libtorch".into()))
}

#[cfg(feature = "torch")]
mod problem;

#[cfg(feature = "torch")]
use implementation::measure;

#[cfg(feature = "torch")]
mod implementation {
    use proxflow_gpu::adam::AdamSpecification;
    use proxflow_gpu::architecture::{Activation, Architecture, Features};
    use proxflow_gpu::configuration::Configuration;
    use proxflow_gpu::indicators::{self, FlowIndicators};
    use proxflow_gpu::network::Network;
    use proxflow_gpu::objective::Case;
    use proxflow_gpu::schedule::Schedule;
    use proxflow_gpu::train::{Source, Trainer};
    use proxflow_reference::ProximalParameters;
    use proxflow_reference::transport::cost::PointwiseCost;
    use tch::{Device, Kind, Tensor};

    use super::problem::{Problem, Space, problems};
    use super::{CheckError, Measured, Mechanism, Setting};
    use proxflow_io::plot::Plot;
    use crate::torch::{to_array, to_tensor};

    const OPTIONS: (Kind, Device) = (Kind::Float, Device::Cpu);

    /// A flow at one moment of its training.
    struct State {
        indicators: FlowIndicators,
        /// `J` of the 40-step flow: its kinetic energy and the upper bound of its divergence.
        objective: f64,
        /// The same of the flow with the steps it is trained with.
        objective_at_trained_steps: f64,
    }

    fn architecture(problem: &Problem, time: bool) -> Architecture {
        let dimension = problem.data.ncols() as i64;
        let features = match problem.space {
            Space::Euclidean => Features::Coordinates { dimension },
            Space::Torus => Features::PeriodicCoordinates { dimension },
        };
        // U is smooth before T; the critic has kinks where its slope changes between -L and L.
        let activation = if time { Activation::Tanh } else { Activation::Relu };
        Architecture { features, hidden: vec![48, 48], activation, time }
    }

    fn configuration(problem: &Problem, case: Case, iterations: u64, setting: &Setting) -> Configuration {
        let ProximalParameters { lipschitz, lambda, horizon } = problem.parameters;
        let adam = |learning_rate| AdamSpecification { learning_rate, beta1: 0.5, beta2: 0.9 };
        Configuration {
            case,
            batch: setting.choose(128, 256),
            critic_steps: 5,
            horizon,
            steps: 5,
            lambda,
            lipschitz,
            // The released weight 0.1 leaves slopes of 6 L; this one holds them near L.
            penalty_weight: 5.0 / lipschitz,
            critic_adam: adam(2e-3),
            potential_adam: adam(1e-3),
            // At constant rates U and phi keep circling the saddle point, 3 to 8 % above J* on the line.
            learning_rate_schedule: Schedule::Linear { steps: iterations },
            seed: setting.seed + 1,
            ..Configuration::default()
        }
    }

    fn evaluate(
        problem: &Problem,
        trainer: &Trainer,
        source: &Tensor,
        mechanism: Mechanism,
    ) -> Result<State, CheckError> {
        let ProximalParameters { lipschitz, lambda, .. } = problem.parameters;
        let negated = negated(&trainer.discriminator)?;
        let flipped = mechanism.lacks("sign of the terminal condition");
        let discriminator = if flipped { &negated } else { &trainer.discriminator };
        let at = |steps: usize, reference: Option<&Tensor>| {
            let flow = trainer.flow().with_steps(steps);
            indicators::evaluate(&trainer.potential, discriminator, source, flow, reference)
        };
        let objective = |found: &FlowIndicators| -> Result<f64, CheckError> {
            let cost = PointwiseCost::Lipschitz { lipschitz };
            Ok(lambda * found.kinetic_energy.mean + problem.solve(&to_array(&found.endpoints), cost)?.upper)
        };
        let trained = at(trainer.flow().steps, None);
        let found = at(40, Some(&trained.endpoints));
        Ok(State {
            objective: objective(&found)?,
            objective_at_trained_steps: objective(&trained)?,
            indicators: found,
        })
    }

    /// `-phi`: the last layer with flipped sign.
    fn negated(discriminator: &Network) -> Result<Network, CheckError> {
        let parameters = discriminator.parameters();
        let last = parameters.len() - 2;
        let flip = |(k, p): (usize, &Tensor)| if k < last { p.detach() } else { -p.detach() };
        let flipped = parameters.iter().enumerate().map(flip).collect();
        Ok(Network::from_parameters(discriminator.architecture().clone(), flipped)?)
    }

    /// Trains one flow; its states before training and after every eighth of it.
    fn train(
        problem: &Problem,
        mechanism: Mechanism,
        setting: &Setting,
    ) -> Result<Vec<(u64, State)>, CheckError> {
        let iterations = setting.choose(800_u64, 4000);
        let case = if mechanism.lacks("kinetic term") { Case::W1 } else { Case::W1W2 };
        let source = to_tensor(problem.source.view(), OPTIONS);
        let mut trainer = Trainer::new(
            configuration(problem, case, iterations, setting),
            architecture(problem, true),
            architecture(problem, false),
            &to_tensor(problem.data.view(), OPTIONS),
            Source::Samples(source.shallow_clone()),
            OPTIONS,
        )?;
        let mut states = vec![(0, evaluate(problem, &trainer, &source, mechanism)?)];
        if mechanism.lacks("training") {
            return Ok(states);
        }
        for iteration in 1..=iterations {
            trainer.step().map_err(|error| CheckError::Run(error.to_string()))?;
            if iteration % (iterations / 8) == 0 {
                states.push((iteration, evaluate(problem, &trainer, &source, mechanism)?));
            }
        }
        Ok(states)
    }

    pub(super) fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
        crate::torch::use_one_thread();
        let mut measured = Measured::new();
        for problem in problems(setting)? {
            // One problem shows what another training loses.
            let concerned = match mechanism {
                _ if mechanism.lacks("kinetic term") => problem.name == "line, W1 inactive",
                _ if mechanism.lacks("sign of the terminal condition") => problem.name == "line, W1 active",
                _ => true,
            };
            if concerned {
                judge(&problem, setting, mechanism, &mut measured)?;
            }
        }
        Ok(measured)
    }

    fn judge(
        problem: &Problem,
        setting: &Setting,
        mechanism: Mechanism,
        measured: &mut Measured,
    ) -> Result<(), CheckError> {
        let optimum = problem.solve(&problem.source, PointwiseCost::Huber(problem.parameters))?;
        let lipschitz = problem.parameters.lipschitz;
        let active_mass = problem.active_mass(&optimum);
        let states = train(problem, mechanism, setting)?;
        let state = |k: usize| &states[k.min(states.len() - 1)].1;
        let (before, early, last) = (state(0), state(1), state(states.len() - 1));
        let after = &last.indicators;
        let excess = |objective: f64| (objective - optimum.lower) / optimum.upper;
        let gauged = |state: &State| state.indicators.hj_residual_gauged_relative.mean;
        let name = |what: &str| format!("{what}, {}", problem.name);
        measured
            .record_case("excess", problem.name, excess(last.objective))
            .record_case("infimum", problem.name, last.objective - optimum.lower)
            .record_case("straightness", problem.name, after.straightness.mean)
            .record_case(
                "Hamilton-Jacobi residual, after / before",
                problem.name,
                gauged(last) / gauged(before),
            )
            .record_case("Hamilton-Jacobi residual, after / early", problem.name, gauged(last) / gauged(early))
            .figure(name("J*"), optimum.upper)
            .figure(name("J"), last.objective)
            .figure(name("(J - J*) / J* with the 5 trained steps"), excess(last.objective_at_trained_steps))
            .figure(name("L T / lambda"), problem.parameters.kink())
            .figure(name("mass that W1 carries on at the optimum"), active_mass)
            .figure(name("acceleration"), after.acceleration.mean)
            .figure(name("deviation of 40 steps from 5"), deviation(after))
            .figure(name("gauged relative Hamilton-Jacobi residual"), gauged(last))
            .figure(
                name("raw relative Hamilton-Jacobi residual, an eighth of the training"),
                early.indicators.hj_residual_relative.mean,
            )
            .figure(name("raw relative Hamilton-Jacobi residual"), after.hj_residual_relative.mean)
            .figure(name("terminal residual / L"), after.terminal_residual.mean / lipschitz)
            .figure(name("mean critic slope / L"), after.critic_slope.mean / lipschitz);
        if active_mass > 0.5 {
            measured.record_case(
                "terminal residual",
                problem.name,
                after.terminal_residual.mean / lipschitz,
            );
        }
        let curve: Vec<(f64, f64)> =
            states.iter().map(|(iteration, state)| (*iteration as f64, state.objective)).collect();
        measured.plot(
            Plot::new(
                &name("Objective of the trained flow"),
                "outer steps",
                "J, certified",
                "Falls to the certified J*.",
            )
            .line("J*", curve.iter().map(|(k, _)| (*k, optimum.upper)).collect())
            .line("J", curve),
        );
        Ok(())
    }

    /// Step-size deviation of the 40-step flow from the trained one.
    fn deviation(found: &FlowIndicators) -> f64 {
        found.deviation.map_or(f64::NAN, |estimate| estimate.mean)
    }
}

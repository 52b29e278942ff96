//! Costs that depend on the Euclidean distance alone.

use crate::specification::{InvalidInput, ProximalParameters};

/// A cost that depends on the Euclidean distance `r = |x - z|` alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PointwiseCost {
    /// `c = L r`: the Lipschitz-regularised divergence `D_f^L` of notation 1.4.
    Lipschitz {
        /// The constant `L > 0`.
        lipschitz: f64,
    },
    /// The Huber cost of notation 2.2: the combined proximal.
    Huber(ProximalParameters),
    /// `c = r`: the first Wasserstein distance.
    Distance,
    /// `c = r^2`: the squared second Wasserstein distance.
    SquaredDistance,
}

impl PointwiseCost {
    /// The cost as a function of the squared distance `r^2 >= 0`.
    ///
    /// ```
    /// use proxflow_reference::ProximalParameters;
    /// use proxflow_reference::transport::PointwiseCost;
    /// let huber = PointwiseCost::Huber(ProximalParameters::new(1.0, 1.0, 2.0)?); // kink at r = 2
    /// assert_eq!((huber.of_squared_distance(1.0), huber.of_squared_distance(9.0)), (0.25, 2.0));
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn of_squared_distance(&self, squared: f64) -> f64 {
        match self {
            Self::Lipschitz { lipschitz } => lipschitz * squared.sqrt(),
            Self::Huber(parameters) => {
                let ProximalParameters { lipschitz, lambda, horizon } = *parameters;
                if squared.sqrt() <= parameters.kink() {
                    lambda / (2.0 * horizon) * squared
                } else {
                    lipschitz * (squared.sqrt() - 0.5 * parameters.kink())
                }
            }
            Self::Distance => squared.sqrt(),
            Self::SquaredDistance => squared,
        }
    }

    /// The cost as a function of the distance `r >= 0`: no square of it is formed where that matters.
    ///
    /// ```
    /// use proxflow_reference::transport::PointwiseCost;
    /// assert_eq!(PointwiseCost::Lipschitz { lipschitz: 1e300 }.of_distance(1e-300), 1.0);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn of_distance(&self, r: f64) -> f64 {
        match self {
            Self::Lipschitz { lipschitz } => lipschitz * r,
            Self::Huber(parameters) if r <= parameters.kink() => {
                let ProximalParameters { lambda, horizon, .. } = *parameters;
                lambda / (2.0 * horizon) * r * r
            }
            Self::Huber(parameters) => parameters.lipschitz * (r - 0.5 * parameters.kink()),
            Self::Distance => r,
            Self::SquaredDistance => r * r,
        }
    }

    /// `c'(r)/r`, so that the gradient of `c(|x - z|)` in `x` is this times `x - z`; 0 at `r = 0`, where that gradient is (a
    /// member of the subdifferential) zero.
    ///
    /// ```
    /// # use proxflow_reference::ProximalParameters;
    /// # use proxflow_reference::transport::PointwiseCost;
    /// let huber = PointwiseCost::Huber(ProximalParameters::new(1.0, 1.0, 2.0)?); // kink at r = 2
    /// // lambda/T before the kink, L/r past it.
    /// assert_eq!((huber.slope_over_distance(1.0), huber.slope_over_distance(4.0)), (0.5, 0.25));
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn slope_over_distance(&self, r: f64) -> f64 {
        if r == 0.0 {
            return 0.0;
        }
        match self {
            Self::Lipschitz { lipschitz } => lipschitz / r,
            Self::Huber(parameters) if r <= parameters.kink() => parameters.lambda / parameters.horizon,
            Self::Huber(parameters) => parameters.lipschitz / r,
            Self::Distance => 1.0 / r,
            Self::SquaredDistance => 2.0,
        }
    }

    pub(super) fn check(&self) -> Result<(), InvalidInput> {
        match self {
            Self::Lipschitz { lipschitz } => {
                InvalidInput::require_positive("lipschitz", *lipschitz).map(|_| ())
            }
            Self::Huber(p) => ProximalParameters::new(p.lipschitz, p.lambda, p.horizon).map(|_| ()),
            Self::Distance | Self::SquaredDistance => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huber_cost_is_continuous_with_slope_lipschitz_past_the_kink() {
        let parameters = ProximalParameters::new(2.0, 0.5, 3.0).expect("positive");
        let cost = PointwiseCost::Huber(parameters);
        let at = |r: f64| cost.of_squared_distance(r * r);
        let kink = parameters.kink();
        assert!((at(kink) - at(kink * (1.0 + 1e-12))).abs() < 1e-9);
        assert!((at(kink + 2.0) - at(kink + 1.0) - 2.0).abs() < 1e-12);
        assert!((at(1.0) - 0.5 / 6.0).abs() < 1e-15);
    }

    #[test]
    fn the_slope_is_the_derivative_of_the_cost() {
        let huber = PointwiseCost::Huber(ProximalParameters::new(2.0, 0.5, 3.0).expect("positive"));
        for cost in [
            huber,
            PointwiseCost::Distance,
            PointwiseCost::SquaredDistance,
            PointwiseCost::Lipschitz { lipschitz: 0.3 },
        ] {
            for r in [0.2, 1.0, 11.9, 12.5, 40.0] {
                let h = 1e-6 * r;
                let slope = (cost.of_distance(r + h) - cost.of_distance(r - h)) / (2.0 * h);
                assert!(
                    (slope - r * cost.slope_over_distance(r)).abs() < 1e-8 * (1.0 + slope),
                    "{cost:?} {r}"
                );
                assert!((cost.of_distance(r) - cost.of_squared_distance(r * r)).abs() < 1e-12);
            }
            assert_eq!(cost.slope_over_distance(0.0), 0.0);
        }
    }
}

//! scratch
use ndarray::Array2;
use proxflow_reference::DivergenceKind;
use proxflow_reference::transport::{DenseCost, SemiRelaxedOptions, semi_relaxed_transport};
fn main() {
    let args: Vec<f64> = std::env::args().skip(1).filter_map(|t| t.parse().ok()).collect();
    let (dim, n, lambda, l) = (args[0] as usize, args[1] as usize, args[2], args[3]);
    let h = 1.0 / n as f64;
    let per = |a: usize, b: usize| { let d = a.abs_diff(b); d.min(n - d) as f64 * h };
    let nodes = n.pow(dim as u32);
    let huber = |r: f64| { let k = l / lambda; if r <= k { 0.5 * lambda * r * r } else { l * (r - 0.5 * k) } };
    let cost = Array2::from_shape_fn((nodes, nodes), |(a, b)| {
        if dim == 1 { huber(per(a, b)) } else {
            let (u, v) = (per(a / n, b / n), per(a % n, b % n));
            huber((u * u + v * v).sqrt())
        }
    });
    let bump = |c: f64, s: f64| -> Vec<f64> {
        let v: Vec<f64> = (0..nodes).map(|a| {
            let mut e = 1.0;
            for k in 0..dim { let x = (if k == 0 { a % n } else { a / n }) as f64 * h - c; let x = x - x.round(); e *= (-(x * x) / (2.0 * s * s)).exp(); }
            e + 0.05
        }).collect();
        let t: f64 = v.iter().sum(); v.into_iter().map(|x| x / t).collect()
    };
    let (p, q) = (bump(0.3, 0.08), bump(0.7, 0.12));
    let cost = DenseCost::new(cost).unwrap();
    for (name, p, q) in [("bump", p.clone(), q.clone()), ("uniform->bump", vec![1.0 / nodes as f64; nodes], q.clone()), ("bump->uniform", p, vec![1.0 / nodes as f64; nodes])] {
        for kind in [DivergenceKind::KullbackLeibler] {
            let s = semi_relaxed_transport(&cost, &p, &q, kind, &SemiRelaxedOptions::default()).unwrap();
            println!("{name} {kind} {:.3} s gap {:.1e} value {:.6} passes {} pivots {} {:?}", s.seconds, s.gap(), s.upper, s.passes, s.iterations, s.outcome);
        }
    }
}

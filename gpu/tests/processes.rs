//! A run of several processes, made of copies of this test program on loopback: equal numbers, resuming, and lost ranks.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use proxflow_gpu::architecture::{Activation, Architecture};
use proxflow_gpu::configuration::Configuration;
use proxflow_gpu::distributed::{ProcessGroup, Rendezvous};
use proxflow_gpu::objective::Case;
use proxflow_gpu::team::Team;
use proxflow_gpu::train::{Source, Trainer};
use tch::{Device, Kind, Tensor};

const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);
/// What a copy of this program shall do: `train`, `resume` or `endless`.
const TASK: &str = "PROXFLOW_TEST_TASK";
/// Where it leaves its checkpoints.
const FOLDER: &str = "PROXFLOW_TEST_FOLDER";
/// Time limit of every exchange, seconds.
const TIMEOUT: &str = "PROXFLOW_TEST_TIMEOUT";
/// The updates after which processes are compared.
const STEPS: u64 = 20;
/// Pieces of a batch in every run: what makes equal numbers of different numbers of processes.
const PIECES: usize = 4;

/// Every case with the KL divergence, every other divergence with the full objective.
fn set_ups() -> Vec<(Case, &'static str)> {
    let others = ["reverse-kl", "alpha:0.5", "alpha:2.5", "chi2", "js", "hellinger"];
    Case::ALL.map(|case| (case, "kl")).into_iter().chain(others.map(|f| (Case::W1W2, f))).collect()
}

fn data() -> Tensor {
    Tensor::from_slice(&[2.0, 2.0, 2.5, 2.0, 2.0, 2.5, 1.0, 2.2, 1.7, 0.3]).reshape([5, 2])
}

/// A small dense network in f64 with the published weights, but an L so small that the penalty acts from the first step; 22 rows do not
/// divide evenly by 4 pieces.
fn trainer(case: Case, f: &str) -> Trainer {
    let f = f.parse().unwrap();
    let configuration = Configuration { case, f, batch: 22, lipschitz: 0.01, ..Configuration::default() };
    let shape = |time| Architecture::dense(2, &[24, 24], Activation::Relu, time);
    Trainer::new(configuration, shape(true), shape(false), &data(), Source::Uniform, OPTIONS).unwrap()
}

fn team() -> Team {
    let timeout = Duration::from_secs_f64(std::env::var(TIMEOUT).unwrap().parse().unwrap());
    let group = Rendezvous::from_environment().unwrap().map(|place| ProcessGroup::join(&place, timeout));
    let group = group.transpose().unwrap_or_else(|error| fail(&error));
    Team::new(1, PIECES, group).unwrap()
}

/// As the commands do it: one line and exit code 1.
fn fail(error: &dyn std::fmt::Display) -> ! {
    eprintln!("worker: {error}");
    std::process::exit(1);
}

/// Not a test of its own: what the copies do.
#[test]
fn worker() {
    let Ok(task) = std::env::var(TASK) else { return };
    let folder = std::env::var(FOLDER).unwrap();
    let file = |name: String| Path::new(&folder).join(name);
    let mut team = Some(team());
    let rank = team.as_ref().unwrap().rank();
    let set_ups = if task == "train" { set_ups() } else { vec![(Case::W1W2, "kl")] };
    for (index, (case, f)) in set_ups.into_iter().enumerate() {
        let mut run = match task.as_str() {
            "resume" => Trainer::resume(&file("half".to_owned()), &data(), Source::Uniform, OPTIONS).unwrap(),
            _ => trainer(case, f),
        };
        run = run.with_team(team.take().unwrap()).unwrap();
        let end = if task == "endless" { u64::MAX } else { STEPS };
        while run.iteration < end {
            run.step().unwrap_or_else(|error| fail(&error));
            if run.iteration == STEPS / 2 && rank == 0 && task != "resume" {
                run.save(&file("half".to_owned())).unwrap();
            }
        }
        if rank == 0 {
            run.save(&file(format!("{task}-{index}"))).unwrap();
        }
        team = Some(run.into_team());
    }
}

/// Starts one process of `size`; with one, nothing in the environment says that there could be more.
fn start(task: &str, folder: &Path, rank: usize, size: usize, port: u16, timeout: f64) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["worker", "--exact", "--nocapture"]).env(TASK, task).env(FOLDER, folder);
    command.env(TIMEOUT, timeout.to_string()).env("OMP_NUM_THREADS", "1");
    if size > 1 {
        let variables = [("RANK", rank.to_string()), ("WORLD_SIZE", size.to_string())];
        command.envs(variables).env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn start_all(task: &str, folder: &Path, size: usize, timeout: f64) -> Vec<Child> {
    let port = free_port();
    (0..size).map(|rank| start(task, folder, rank, size, port, timeout)).collect()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn finish(children: Vec<Child>) {
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn parameters(path: &Path) -> Tensor {
    let model = proxflow_gpu::checkpoint::Model::load(path, OPTIONS).unwrap();
    let both = model.potential.parameters().iter().chain(model.discriminator.parameters());
    Tensor::cat(&both.map(|tensor| tensor.flatten(0, -1)).collect::<Vec<_>>(), 0)
}

fn relative_error(a: &Tensor, b: &Tensor) -> f64 {
    f64::try_from((a - b).norm() / b.norm()).unwrap()
}

/// Says so where the engine is not built in, and then has nothing to test.
fn several_processes() -> bool {
    if !proxflow_gpu::distributed::AVAILABLE {
        eprintln!("SKIPPED: built for one process only");
    }
    proxflow_gpu::distributed::AVAILABLE
}

#[test]
fn one_two_and_four_processes_make_the_same_parameters_in_every_case_and_divergence() {
    if !several_processes() {
        return;
    }
    let folders = [1, 2, 4].map(|size| {
        let folder = tempfile::tempdir().unwrap();
        finish(start_all("train", folder.path(), size, 120.0));
        folder
    });
    let mut seen: Vec<Tensor> = Vec::new();
    for (index, (case, f)) in set_ups().into_iter().enumerate() {
        let [one, two, four] =
            [0, 1, 2].map(|at: usize| parameters(&folders[at].path().join(format!("train-{index}"))));
        let nearest = seen.iter().map(|other| relative_error(&one, other)).fold(f64::INFINITY, f64::min);
        // Rounding alone makes 1e-12.
        assert!(nearest > 1e-10, "{case:?} {f} is a run of its own: {nearest}");
        let start = trainer(case, f);
        let start: Vec<Tensor> = start.potential.parameters().iter().map(|t| t.flatten(0, -1)).collect();
        let start = Tensor::cat(&start, 0);
        assert!(relative_error(&one.narrow(0, 0, start.numel() as i64), &start) > 1e-3, "the run moves");
        for other in [two, four] {
            // Equal pieces, added in one order.
            assert!(other.equal(&one), "{case:?} {f}: {}", relative_error(&other, &one));
        }
        seen.push(one);
    }
}

#[test]
fn a_run_resumes_with_another_number_of_processes() {
    if !several_processes() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // The checkpoint at half of the first set-up comes from two processes; three, then one, take it up.
    for (task, size) in [("endless", 2), ("resume", 3), ("resume", 1)] {
        if task == "endless" {
            let mut children = start_all(task, folder.path(), size, 120.0);
            wait_for(&folder.path().join("half"), &mut children);
            children.iter_mut().for_each(|child| child.kill().unwrap());
            assert!(children.iter_mut().all(|child| !child.wait().unwrap().success()));
            continue;
        }
        finish(start_all(task, folder.path(), size, 120.0));
        let found = parameters(&folder.path().join("resume-0"));
        let mut straight = trainer(Case::W1W2, "kl").with_team(Team::new(1, PIECES, None).unwrap()).unwrap();
        while straight.iteration < STEPS {
            straight.step().unwrap();
        }
        let path = folder.path().join("straight");
        straight.save(&path).unwrap();
        let straight = parameters(&path);
        assert!(found.equal(&straight), "{size} processes: {}", relative_error(&found, &straight));
    }
}

/// Until a file is there; the children must live that long.
fn wait_for(path: &Path, children: &mut [Child]) {
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < Duration::from_secs(120), "{} never came", path.display());
        assert!(
            children.iter_mut().all(|child| child.try_wait().unwrap().is_none()),
            "a process ended early"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends `signal` to one of three running ranks; the others must end with one line that names it, within the time limit.
fn lose(lost: usize, signal: &str) {
    const LIMIT: f64 = 8.0;
    let folder = tempfile::tempdir().unwrap();
    let mut children = start_all("endless", folder.path(), 3, LIMIT);
    wait_for(&folder.path().join("half"), &mut children);
    let mut victim = children.remove(lost);
    let kill = |signal: &str| Command::new("kill").args([signal, &victim.id().to_string()]).status().unwrap();
    let start = Instant::now();
    assert!(kill(signal).success());
    for child in children {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("worker: ")).collect();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert_eq!(lines.len(), 1, "{text}");
        assert!(
            lines[0].contains(&format!("rank {lost} ")) || lines[0].contains(&format!("rank {lost},")),
            "{text}"
        );
    }
    // A loaded machine may start the survivors' last words late.
    assert!(start.elapsed().as_secs_f64() < LIMIT + 4.0, "{signal}: {:?}", start.elapsed());
    let _ = kill("-KILL");
    let _ = victim.wait();
}

#[test]
fn a_killed_rank_is_named_by_the_others() {
    if several_processes() {
        lose(1, "-KILL");
    }
}

#[test]
fn a_frozen_rank_is_named_by_the_others() {
    if several_processes() {
        lose(2, "-STOP");
    }
}

#[test]
fn a_killed_server_of_the_store_is_named_by_the_others() {
    if several_processes() {
        lose(0, "-KILL");
    }
}

#[test]
fn a_frozen_server_of_the_store_is_named_by_the_others() {
    if several_processes() {
        lose(0, "-STOP");
    }
}

#[test]
fn a_rank_that_never_comes_is_named() {
    if !several_processes() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let child = start("train", folder.path(), 0, 2, free_port(), 4.0);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("worker: rank 1 of 2 did not answer"), "{text}");
}

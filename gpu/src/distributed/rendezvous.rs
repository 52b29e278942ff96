//! Where the processes of a run meet, from the environment.

use proxflow_reference::InvalidInput;

/// One process's place in a run of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendezvous {
    /// Number of this process, `0..size`.
    pub rank: usize,
    /// Number of processes, at least 2.
    pub size: usize,
    /// Host of the store.
    pub host: String,
    /// Port of the store.
    pub port: u16,
    /// Whether a launcher serves the store; otherwise rank 0 does.
    pub served_by_launcher: bool,
    /// Keys of this attempt in the store: a launcher's store outlives the processes that it restarts.
    pub prefix: String,
}

impl Rendezvous {
    /// Reads `RANK`, `WORLD_SIZE`, `MASTER_ADDR`, `MASTER_PORT` (as `torchrun` sets them; under `srun`, `SLURM_PROCID` and
    /// `SLURM_NTASKS` stand in for the first two once `MASTER_ADDR` is set). `None` for a process alone.
    pub fn from_environment() -> Result<Option<Self>, InvalidInput> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, InvalidInput> {
        let slurm = variable("MASTER_ADDR").is_some();
        let either = |name: &'static str, slurm_name: &'static str| match variable(name) {
            Some(value) => Some((name, value)),
            None => variable(slurm_name).filter(|_| slurm).map(|value| (slurm_name, value)),
        };
        let number = |name: &str, value: &str, allowed: &str| {
            value.trim().parse::<usize>().map_err(|_| InvalidInput::new(name, value, allowed))
        };
        let missing =
            |name: &str| InvalidInput::new(name, "missing", "set beside WORLD_SIZE, as torchrun does");
        let Some((name, size)) = either("WORLD_SIZE", "SLURM_NTASKS") else {
            return match variable("RANK") {
                Some(rank) => {
                    Err(InvalidInput::new("WORLD_SIZE", "missing", format!("set beside RANK = {rank}")))
                }
                None => Ok(None),
            };
        };
        let size = match number(name, &size, ">= 1")? {
            0 => return Err(InvalidInput::new(name, size, ">= 1")),
            1 => return Ok(None),
            size => size,
        };
        let (name, value) = either("RANK", "SLURM_PROCID").ok_or_else(|| missing("RANK"))?;
        let allowed = format!("0..{size}");
        let rank = number(name, &value, &allowed)?;
        if rank >= size {
            return Err(InvalidInput::new(name, rank, allowed));
        }
        let host = variable("MASTER_ADDR").ok_or_else(|| missing("MASTER_ADDR"))?;
        let port = variable("MASTER_PORT").ok_or_else(|| missing("MASTER_PORT"))?;
        let port = port
            .trim()
            .parse()
            .ok()
            .filter(|&port: &u16| port > 0)
            .ok_or_else(|| InvalidInput::new("MASTER_PORT", &port, "1..=65535"))?;
        let attempt = |name: &str| variable(name).unwrap_or_default();
        Ok(Some(Self {
            rank,
            size,
            host,
            port,
            served_by_launcher: variable("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|value| value == "True"),
            prefix: format!(
                "proxflow/{}/{}/",
                attempt("TORCHELASTIC_RUN_ID"),
                attempt("TORCHELASTIC_RESTART_COUNT")
            ),
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Option<Rendezvous>, InvalidInput> {
        Rendezvous::from_variables(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    const WHOLE: [(&str, &str); 4] =
        [("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "localhost"), ("MASTER_PORT", "29500")];

    #[test]
    fn torchrun_srun_and_a_process_alone_are_told_apart() {
        assert_eq!(from(&[]), Ok(None));
        assert_eq!(from(&[("WORLD_SIZE", "1"), ("RANK", "0")]), Ok(None));
        assert_eq!(from(&[("SLURM_NTASKS", "4"), ("SLURM_PROCID", "2")]), Ok(None), "a batch script's shell");
        let by_hand = from(&WHOLE).unwrap().unwrap();
        assert_eq!((by_hand.rank, by_hand.size, by_hand.served_by_launcher), (1, 2, false));
        let torchrun = [&WHOLE[..], &[("TORCHELASTIC_USE_AGENT_STORE", "True")]].concat();
        assert!(from(&torchrun).unwrap().unwrap().served_by_launcher);
        let srun = [&WHOLE[2..], &[("SLURM_NTASKS", "4"), ("SLURM_PROCID", "2")]].concat();
        assert_eq!(from(&srun).unwrap().map(|found| (found.rank, found.size)), Some((2, 4)));
    }

    #[test]
    fn restarted_attempts_do_not_share_keys() {
        let attempt = |count| {
            from(&[&WHOLE[..], &[("TORCHELASTIC_RESTART_COUNT", count)]].concat()).unwrap().unwrap().prefix
        };
        assert!(attempt("0") != attempt("1"));
    }

    #[test]
    fn faults_name_the_variable() {
        for index in [0, 2, 3] {
            let mut pairs = WHOLE.to_vec();
            let (name, _) = pairs.remove(index);
            assert!(from(&pairs).unwrap_err().to_string().starts_with(name));
        }
        assert!(from(&WHOLE[..1]).unwrap_err().to_string().starts_with("WORLD_SIZE"));
        for (index, bad) in [(0, "2"), (0, "x"), (1, "0"), (1, "-1"), (3, "0"), (3, "70000")] {
            let mut pairs = WHOLE.to_vec();
            pairs[index].1 = bad;
            assert!(from(&pairs).unwrap_err().to_string().starts_with(WHOLE[index].0), "{bad}");
        }
    }
}

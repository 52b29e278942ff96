//! Who computes a batch: rows shared out over the processes of a run, and over threads inside each.
//!
//! A batch of `B` rows is cut into contiguous *parts*, first by process, then by thread. Each part evaluates its own rows; gradients
//! are sums over rows, so the parts' gradients are **added**. `Lambda(phi)` is not: it is nonlinear in the batch, so the critic's
//! values are gathered first ([`Part::gather`]) and every part weights its rows by the dual weights of the whole batch. Averaging
//! the gradients of local objectives instead is wrong by tens of per cent.
//!
//! Each thread runs libtorch with one thread of its own. They meet a dozen times in an outer step, where libtorch's own pool meets
//! several thousand times, spinning in between: beside other load that costs ten to thirty times the work.

use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use proxflow_reference::InvalidInput;
use tch::Tensor;

use crate::distributed::{GroupError, ProcessGroup};

/// Fewer rows than this are not shared out to another thread.
const ROWS_PER_THREAD: usize = 8;

/// The threads of this process and the group of processes it belongs to.
#[derive(Default)]
pub struct Team {
    group: Option<ProcessGroup>,
    pool: Option<rayon::ThreadPool>,
}

impl Team {
    /// This process alone, on the calling thread.
    pub fn single() -> Self {
        Self::default()
    }

    /// `threads >= 1` threads of this process, which is one of `group` if there is one.
    pub fn new(threads: usize, group: Option<ProcessGroup>) -> Result<Self, InvalidInput> {
        if threads == 0 {
            return Err(InvalidInput::new("threads", threads, ">= 1"));
        }
        // What is done between the parts, on the calling thread, must leave no pool of libtorch's spinning beside them.
        tch::set_num_threads(1);
        let builder = || {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .thread_name(|index| format!("part {index}"))
                .start_handler(|_| tch::set_num_threads(1))
                .build()
                .map_err(|error| InvalidInput::new("threads", threads, error))
        };
        let pool = (threads > 1).then(builder).transpose()?;
        Ok(Self { group, pool })
    }

    /// Number of this process, from 0.
    pub fn rank(&self) -> usize {
        self.group.as_ref().map_or(0, ProcessGroup::rank)
    }

    /// Number of processes.
    pub fn size(&self) -> usize {
        self.group.as_ref().map_or(1, ProcessGroup::size)
    }

    /// Number of threads in this process.
    pub fn threads(&self) -> usize {
        self.pool.as_ref().map_or(1, rayon::ThreadPool::current_num_threads)
    }

    /// The rows `first..last` of a batch that this process holds.
    pub fn rows(&self, batch: usize) -> Range<usize> {
        share(0..batch, self.rank(), self.size())
    }

    /// Whether a batch has a row for every process.
    pub fn check_batch(&self, batch: usize) -> Result<(), InvalidInput> {
        if batch < self.size() {
            return Err(InvalidInput::new("batch", batch, format!(">= {} processes", self.size())));
        }
        Ok(())
    }

    /// Whether `flag` is set in any process, the same answer in all.
    pub fn any(&self, flag: bool) -> Result<bool, GroupError> {
        let Some(group) = &self.group else { return Ok(flag) };
        let mut count = Tensor::from_slice(&[f64::from(flag)]);
        group.sum(&mut count)?;
        Ok(count.double_value(&[0]) > 0.0)
    }

    /// Runs `work`, which is not cut into parts, with all threads of this process in libtorch's own pool.
    pub fn pooled<T>(&self, work: impl FnOnce() -> T) -> T {
        let threads = self.threads();
        if threads == 1 {
            return work();
        }
        tch::set_num_threads(threads as i32);
        let result = work();
        tch::set_num_threads(1);
        result
    }

    /// Ranges of rows of this process's threads.
    pub fn parts(&self, batch: usize) -> Vec<Range<usize>> {
        let rows = self.rows(batch);
        let threads = self.threads().min(rows.len() / ROWS_PER_THREAD).max(1);
        (0..threads).map(|index| share(rows.clone(), index, threads)).collect()
    }

    /// Runs `work` on every part of a batch of `batch` rows at once, each with its own entry of `inputs` (as many as
    /// [`Self::parts`]), and returns the results in the order of the rows.
    pub fn each<I: Send, T: Send>(
        &self,
        batch: usize,
        inputs: Vec<I>,
        work: impl Fn(&Part<'_>, I) -> T + Sync,
    ) -> Result<Vec<T>, GroupError> {
        let ranges = self.parts(batch);
        assert_eq!(ranges.len(), inputs.len(), "one input per part");
        let board = Board {
            group: self.group.as_ref(),
            rows: self.rows(batch),
            batch,
            parts: ranges.len(),
            state: Mutex::default(),
            changed: Condvar::new(),
        };
        let part = |index: usize| Part {
            index,
            rows: ranges[index].clone(),
            board: (ranges.len() > 1 || self.group.is_some()).then_some(&board),
        };
        let results = match &self.pool {
            Some(pool) if ranges.len() > 1 => {
                let inputs: Vec<Mutex<Option<I>>> =
                    inputs.into_iter().map(|input| Mutex::new(Some(input))).collect();
                let results = pool.broadcast(|context| {
                    let input = lock(inputs.get(context.index())?).take()?;
                    let _guard = Abandon(&board);
                    Some(work(&part(context.index()), input))
                });
                results.into_iter().flatten().collect()
            }
            _ => inputs.into_iter().enumerate().map(|(index, input)| work(&part(index), input)).collect(),
        };
        match lock(&board.state).failure.take() {
            Some(error) => Err(error),
            None => Ok(results),
        }
    }

    /// Adds numbers and tensors over the parts, in the order of the rows, then over the processes. The sum is the same, bit for
    /// bit, in every process.
    pub fn sum<const N: usize>(
        &self,
        contributions: Vec<([f64; N], Vec<Tensor>)>,
    ) -> Result<([f64; N], Vec<Tensor>), GroupError> {
        let (mut numbers, mut tensors) = ([0.0; N], Vec::new());
        for (terms, gradient) in contributions {
            numbers.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
            tch::no_grad(|| crate::linearisation::accumulate(&mut tensors, gradient));
        }
        let Some(group) = &self.group else { return Ok((numbers, tensors)) };
        let mut flat = Tensor::from_slice(&numbers);
        group.sum(&mut flat)?;
        numbers.iter_mut().enumerate().for_each(|(index, sum)| *sum = flat.double_value(&[index as i64]));
        let mut flat = Tensor::cat(&tensors.iter().map(|tensor| tensor.reshape([-1])).collect::<Vec<_>>(), 0);
        group.sum(&mut flat)?;
        let lengths: Vec<i64> = tensors.iter().map(|tensor| tensor.numel() as i64).collect();
        let pieces = flat.split_with_sizes(&lengths, 0);
        Ok((numbers, pieces.iter().zip(&tensors).map(|(piece, like)| piece.view_as(like)).collect()))
    }
}

/// The `index`-th of `count` contiguous shares of `rows`, their lengths differing by one at most.
fn share(rows: Range<usize>, index: usize, count: usize) -> Range<usize> {
    let bound = |index: usize| rows.start + index * rows.len() / count;
    bound(index)..bound(index + 1)
}

/// One part of a batch, as the code that evaluates it sees it.
pub struct Part<'a> {
    index: usize,
    rows: Range<usize>,
    board: Option<&'a Board<'a>>,
}

impl Part<'_> {
    /// The whole batch as one part.
    pub fn whole() -> Self {
        Self { index: 0, rows: 0..0, board: None }
    }

    /// Rows in the whole batch, of which `local` are here.
    pub fn batch(&self, local: i64) -> i64 {
        self.board.map_or(local, |board| board.batch as i64)
    }

    /// The share `local / batch` of the batch that is here: what a local mean contributes to the mean over the batch.
    pub fn fraction(&self, local: i64) -> f64 {
        local as f64 / self.batch(local) as f64
    }

    /// Of numbers `whole (batch)`, those of the rows that are here.
    pub fn own<'b>(&self, whole: &'b [f64]) -> &'b [f64] {
        if self.board.is_some() { &whole[self.rows.clone()] } else { whole }
    }

    /// From the values `(local)` that are here those of the whole batch `(batch)`, the same in every part. All parts must call it,
    /// equally often. After a failure of the group the numbers are NaN, and [`Team::each`] returns the failure.
    pub fn gather<const N: usize>(&self, values: [&Tensor; N]) -> [Tensor; N] {
        let Some(board) = self.board else { return values.map(Tensor::shallow_clone) };
        let whole = board.gather(self.index, &Tensor::stack(&values, 0).detach());
        std::array::from_fn(|index| whole.get(index as i64))
    }
}

/// Where the parts of one process leave their values for each other; the last one to come exchanges them with the other processes.
struct Board<'a> {
    group: Option<&'a ProcessGroup>,
    rows: Range<usize>,
    batch: usize,
    parts: usize,
    state: Mutex<BoardState>,
    changed: Condvar,
}

#[derive(Default)]
struct BoardState {
    waiting: Vec<(usize, Tensor)>,
    round: u64,
    gathered: Option<Tensor>,
    failure: Option<GroupError>,
    abandoned: bool,
}

impl Board<'_> {
    /// `values (k, local)` of part `index` to `(k, batch)`.
    fn gather(&self, index: usize, values: &Tensor) -> Tensor {
        let mut state = lock(&self.state);
        state.waiting.push((index, values.shallow_clone()));
        let round = state.round;
        if state.waiting.len() == self.parts {
            state.waiting.sort_by_key(|(index, _)| *index);
            let parts: Vec<Tensor> = state.waiting.drain(..).map(|(_, values)| values).collect();
            let gathered = self.exchange(Tensor::cat(&parts, 1));
            state.gathered = gathered.map_err(|error| state.failure = Some(error)).ok();
            state.round += 1;
            self.changed.notify_all();
        }
        while state.round == round && !state.abandoned {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        assert!(!state.abandoned, "another part of the batch has panicked");
        state.gathered.as_ref().map_or_else(
            || {
                let size = [values.size()[0], self.batch as i64];
                Tensor::full(size, f64::NAN, (values.kind(), values.device()))
            },
            Tensor::shallow_clone,
        )
    }

    /// Sets the rows of this process into zeros and sums over the processes: `x + 0 = x`, so this is exact.
    fn exchange(&self, local: Tensor) -> Result<Tensor, GroupError> {
        let Some(group) = self.group else { return Ok(local) };
        let size = [local.size()[0], self.batch as i64];
        let mut whole = Tensor::zeros(size, (local.kind(), local.device()));
        whole.narrow(1, self.rows.start as i64, self.rows.len() as i64).copy_(&local);
        group.sum(&mut whole)?;
        Ok(whole)
    }
}

/// Wakes the other parts when this one panics.
struct Abandon<'a, 'b>(&'a Board<'b>);

impl Drop for Abandon<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.0.state).abandoned = true;
            self.0.changed.notify_all();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);

    #[test]
    fn shares_are_contiguous_and_differ_by_one_row_at_most() {
        for (rows, count) in [(200, 1), (200, 3), (7, 4), (5, 5)] {
            let shares: Vec<Range<usize>> =
                (0..count).map(|index| share(3..3 + rows, index, count)).collect();
            assert_eq!((shares[0].start, shares[count - 1].end), (3, 3 + rows));
            assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
            let lengths = shares.iter().map(Range::len);
            assert!(lengths.clone().max().unwrap() - lengths.min().unwrap() <= 1);
        }
    }

    #[test]
    fn every_part_gathers_the_rows_of_all_in_order() {
        let team = Team::new(3, None).unwrap();
        let all = Tensor::arange(30, OPTIONS);
        let inputs: Vec<Tensor> = team
            .parts(30)
            .into_iter()
            .map(|rows| all.narrow(0, rows.start as i64, rows.len() as i64).copy())
            .collect();
        assert_eq!(inputs.len(), 3);
        let found = team
            .each(30, inputs, |part, rows: Tensor| {
                let [first, second] = part.gather([&rows, &(&rows * 2.0)]);
                let [third] = part.gather([&(&rows * 3.0)]);
                (first, second, third, part.fraction(rows.numel() as i64))
            })
            .unwrap();
        for (first, second, third, fraction) in found {
            assert!(first.equal(&all) && second.equal(&(&all * 2.0)) && third.equal(&(&all * 3.0)));
            assert_eq!(fraction, 1.0 / 3.0);
        }
    }

    #[test]
    fn sums_add_the_parts() {
        let team = Team::single();
        let part = |number: f64| ([number], vec![Tensor::full([2], number, OPTIONS)]);
        let ([number], tensors) = team.sum(vec![part(1.5), part(2.0)]).unwrap();
        assert_eq!(number, 3.5);
        assert!(tensors[0].equal(&Tensor::full([2], 3.5, OPTIONS)));
    }

    #[test]
    #[should_panic]
    fn a_panic_in_one_part_wakes_the_others() {
        let team = Team::new(2, None).unwrap();
        let _ = team.each(20, vec![0, 1], |part, index| {
            assert!(index == 0, "this part fails");
            let _ = part.gather([&Tensor::zeros([10], OPTIONS)]);
        });
    }
}

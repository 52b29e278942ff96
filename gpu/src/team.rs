//! Who computes a batch: pieces of it shared out over the processes of a run, and over threads inside each.
//!
//! A batch of `B` rows is cut into a fixed number of contiguous *pieces*. What a piece contributes is computed by itself, by whichever
//! process and thread holds it, and contributions are added along one binary tree over the pieces: the numbers of a
//! run depend on the number of pieces, and not at all on the number of processes and threads.
//!
//! Gradients are sums over rows, so the contributions are **added**. `Lambda(phi)` is not: it is nonlinear in the batch, so the
//! critic's values are gathered first ([`Part::gather`]) and every piece weights its rows by the dual weights of the whole batch.
//! Averaging the gradients of local objectives instead is wrong by tens of per cent.
//!
//! Each thread runs libtorch with one thread of its own. They meet a dozen times in an outer step, where libtorch's own pool meets
//! several thousand times, spinning in between: beside other load that costs ten to thirty times the work.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use proxflow_reference::InvalidInput;
use tch::{Device, Kind, Tensor};

use crate::distributed::{GroupError, ProcessGroup};
use crate::linearisation::accumulate;
use crate::tree;

/// The threads of this process and the group of processes it belongs to.
pub struct Team {
    group: Option<ProcessGroup>,
    pool: Option<rayon::ThreadPool>,
    pieces: usize,
}

impl Team {
    /// This process alone, on the calling thread, with the batch in one piece.
    pub fn single() -> Self {
        Self { group: None, pool: None, pieces: 1 }
    }

    /// `threads >= 1` threads of this process, which is one of `group` if there is one; batches are cut into `pieces`, at least one
    /// for every process. More threads than a process has pieces stay idle.
    pub fn new(threads: usize, pieces: usize, group: Option<ProcessGroup>) -> Result<Self, InvalidInput> {
        if threads == 0 {
            return Err(InvalidInput::new("threads", threads, ">= 1"));
        }
        let size = group.as_ref().map_or(1, ProcessGroup::size);
        if pieces < size {
            return Err(InvalidInput::new("pieces", pieces, format!(">= {size}, the number of processes")));
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
        Ok(Self { group, pool, pieces })
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

    /// Number of pieces of a batch.
    pub fn pieces(&self) -> usize {
        self.pieces
    }

    /// Numbers of the pieces that this process holds.
    fn own_pieces(&self) -> Range<usize> {
        share(0..self.pieces, self.rank(), self.size())
    }

    /// Rows of a range of pieces of a batch.
    fn rows(&self, pieces: &Range<usize>, batch: usize) -> Range<usize> {
        pieces.start * batch / self.pieces..pieces.end * batch / self.pieces
    }

    /// Whether every piece of a batch has a row.
    pub fn check_batch(&self, batch: usize) -> Result<(), InvalidInput> {
        if batch < self.pieces {
            return Err(InvalidInput::new("batch", batch, format!(">= {} pieces", self.pieces)));
        }
        Ok(())
    }

    /// Whether all processes call this with equal `numbers`, the same answer in all.
    pub fn agree(&self, numbers: &[f64]) -> Result<bool, GroupError> {
        let Some(group) = &self.group else { return Ok(true) };
        let mut all = Tensor::zeros([self.size() as i64, numbers.len() as i64], (Kind::Double, Device::Cpu));
        all.get(self.rank() as i64).copy_(&Tensor::from_slice(numbers));
        group.sum(&mut all)?;
        Ok((0..self.size() as i64).all(|rank| all.get(rank).equal(&all.get(0))))
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

    /// Pieces of this process's threads.
    fn shares(&self) -> Vec<Range<usize>> {
        let own = self.own_pieces();
        let threads = self.threads().min(own.len());
        (0..threads).map(|index| share(own.clone(), index, threads)).collect()
    }

    /// Rows of a batch that this process's threads hold.
    pub fn parts(&self, batch: usize) -> Vec<Range<usize>> {
        self.shares().iter().map(|pieces| self.rows(pieces, batch)).collect()
    }

    /// Runs `work` on every part of a batch of `batch` rows at once, each with its own entry of `inputs` (as many as
    /// [`Self::parts`]), and returns the results in the order of the rows.
    pub fn each<I: Send, T: Send>(
        &self,
        batch: usize,
        inputs: Vec<I>,
        work: impl Fn(&Part<'_>, I) -> T + Sync,
    ) -> Result<Vec<T>, GroupError> {
        let shares = self.shares();
        assert_eq!(shares.len(), inputs.len(), "one input per part");
        let board = Board {
            group: self.group.as_ref(),
            rows: self.rows(&self.own_pieces(), batch),
            batch,
            parts: shares.len(),
            state: Mutex::default(),
            changed: Condvar::new(),
        };
        let part = |index: usize| {
            let rows = self.rows(&shares[index], batch);
            let local = |piece: usize| {
                let piece = self.rows(&(piece..piece + 1), batch);
                (piece.start - rows.start)..(piece.end - rows.start)
            };
            let pieces = shares[index].clone().map(local).collect();
            Part { index, rows, pieces, board: Some(&board) }
        };
        let results = match &self.pool {
            Some(pool) if shares.len() > 1 => {
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

    /// Adds the contributions of all pieces of all processes along one binary tree; here are those of this process, in the order of the
    /// rows. The sum is the same, bit for bit, in every process and for every number of processes.
    pub fn sum<const N: usize>(
        &self,
        contributions: Vec<Contribution<N>>,
    ) -> Result<Contribution<N>, GroupError> {
        let own = self.own_pieces();
        assert_eq!(own.len(), contributions.len(), "one contribution per piece");
        let mut known: BTreeMap<_, _> =
            own.clone().map(|piece| (piece, piece + 1)).zip(contributions).collect();
        let whole = |known: &mut BTreeMap<_, _>, branch| {
            tree::sum(&branch, known, &add).expect("every piece of a branch is here")
        };
        let Some(group) = &self.group else { return Ok(whole(&mut known, 0..self.pieces)) };

        // Whole branches are added here, then exchanged: each process sets its own into zeros, and `x + 0 = x`.
        let branches = |rank| tree::branches(self.pieces, &share(0..self.pieces, rank, self.size()));
        let first: usize = (0..self.rank()).map(|rank| branches(rank).len()).sum();
        let mine: Vec<Contribution<N>> =
            branches(self.rank()).into_iter().map(|branch| whole(&mut known, branch)).collect();
        let all: Vec<Range<usize>> = (0..self.size()).flat_map(branches).collect();
        let lengths: Vec<i64> = mine[0].1.iter().map(|tensor| tensor.numel() as i64).collect();
        let count = all.len() as i64;
        let mut numbers = Tensor::zeros([count, N as i64], (Kind::Double, Device::Cpu));
        let mut flat = Tensor::zeros([count, lengths.iter().sum()], (mine[0].1[0].kind(), Device::Cpu));
        for (index, (terms, tensors)) in mine.iter().enumerate() {
            let row = (first + index) as i64;
            numbers.get(row).copy_(&Tensor::from_slice(terms));
            let pieces: Vec<Tensor> = tensors.iter().map(|tensor| tensor.reshape([-1])).collect();
            flat.get(row).copy_(&Tensor::cat(&pieces, 0));
        }
        group.sum(&mut numbers)?;
        group.sum(&mut flat)?;
        let exchanged = all.iter().enumerate().map(|(row, branch)| {
            let (numbers, row) = (numbers.get(row as i64), flat.get(row as i64));
            let terms = std::array::from_fn(|index| numbers.double_value(&[index as i64]));
            let pieces = row.split_with_sizes(&lengths, 0);
            let like = |(piece, like): (&Tensor, &Tensor)| piece.view_as(like).to_device(like.device());
            ((branch.start, branch.end), (terms, pieces.iter().zip(&mine[0].1).map(like).collect()))
        });
        let mut exchanged = exchanged.collect();
        Ok(whole(&mut exchanged, 0..self.pieces))
    }
}

/// Numbers and gradients that a piece of a batch adds to those of the batch.
pub type Contribution<const N: usize> = ([f64; N], Vec<Tensor>);

/// Adds the second to the first, in place.
fn add<const N: usize>(mut sum: Contribution<N>, term: Contribution<N>) -> Contribution<N> {
    sum.0.iter_mut().zip(term.0).for_each(|(sum, term)| *sum += term);
    tch::no_grad(|| accumulate(&mut sum.1, term.1));
    sum
}

/// The `index`-th of `count` contiguous shares of `rows`, their lengths differing by one at most.
fn share(rows: Range<usize>, index: usize, count: usize) -> Range<usize> {
    let bound = |index: usize| rows.start + index * rows.len() / count;
    bound(index)..bound(index + 1)
}

/// One part of a batch, that of one thread, as the code that evaluates it sees it.
pub struct Part<'a> {
    index: usize,
    rows: Range<usize>,
    pieces: Vec<Range<usize>>,
    board: Option<&'a Board<'a>>,
}

impl Part<'_> {
    /// The whole batch as one part in one piece.
    pub fn whole() -> Self {
        Self { index: 0, rows: 0..0, pieces: Vec::new(), board: None }
    }

    /// Rows in the whole batch, of which `local` are here.
    pub fn batch(&self, local: i64) -> i64 {
        self.board.map_or(local, |board| board.batch as i64)
    }

    /// The share `local / batch` of the batch: what a mean over `local` rows contributes to the mean over the batch.
    pub fn fraction(&self, local: i64) -> f64 {
        local as f64 / self.batch(local) as f64
    }

    /// Cuts a tensor whose `dimension` runs over the rows that are here into its pieces, each in memory of its own: libtorch's
    /// order of summation may depend on where in memory its numbers lie.
    pub fn cut(&self, tensor: &Tensor, dimension: i64) -> Vec<Tensor> {
        if self.board.is_none() {
            return vec![tensor.shallow_clone()];
        }
        let narrow =
            |rows: &Range<usize>| tensor.narrow(dimension, rows.start as i64, rows.len() as i64).copy();
        self.pieces.iter().map(narrow).collect()
    }

    /// Of numbers `whole (batch)`, those of the rows that are here, piece by piece.
    pub fn own<'b>(&self, whole: &'b [f64]) -> Vec<&'b [f64]> {
        match self.board {
            Some(_) => self.pieces.iter().map(|rows| &whole[self.rows.clone()][rows.clone()]).collect(),
            None => vec![whole],
        }
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
        let team = Team::new(3, 5, None).unwrap();
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
                (first, second, third, part.cut(&rows, 0))
            })
            .unwrap();
        let mut pieces = Vec::new();
        for (first, second, third, cut) in found {
            assert!(first.equal(&all) && second.equal(&(&all * 2.0)) && third.equal(&(&all * 3.0)));
            pieces.extend(cut);
        }
        assert!(pieces.len() == 5 && pieces.iter().all(|piece| piece.numel() == 6));
        assert!(Tensor::cat(&pieces, 0).equal(&all));
    }

    #[test]
    fn sums_add_the_pieces() {
        let team = Team::new(1, 3, None).unwrap();
        let piece = |number: f64| ([number], vec![Tensor::full([2], number, OPTIONS)]);
        let ([number], tensors) = team.sum(vec![piece(1.5), piece(2.0), piece(4.0)]).unwrap();
        assert_eq!(number, 7.5);
        assert!(tensors[0].equal(&Tensor::full([2], 7.5, OPTIONS)));
    }

    #[test]
    #[should_panic]
    fn a_panic_in_one_part_wakes_the_others() {
        let team = Team::new(2, 2, None).unwrap();
        let _ = team.each(20, vec![0, 1], |part, index| {
            assert!(index == 0, "this part fails");
            let _ = part.gather([&Tensor::zeros([10], OPTIONS)]);
        });
    }
}

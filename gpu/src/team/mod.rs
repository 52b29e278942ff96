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

mod part;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;

use proxflow_reference::InvalidInput;
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use crate::derivatives::accumulate;
use crate::distributed::{GroupError, ProcessGroup};
pub use part::Part;
use part::{Abandon, Board, lock};

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

    /// Whether all processes have digested the same, the same answer in all.
    pub fn agree_on(&self, digest: Sha256) -> Result<bool, GroupError> {
        // 4 bytes are whole numbers in f64.
        let words: Vec<f64> = digest
            .finalize()
            .chunks_exact(4)
            .map(|word| word.iter().fold(0.0, |number, byte| 256.0 * number + f64::from(*byte)))
            .collect();
        self.agree(&words)
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
        let own = self.rows(&self.own_pieces(), batch);
        let board = Board::new(self.group.as_ref(), own, batch, shares.len());
        let part = |index: usize| {
            let rows = self.rows(&shares[index], batch);
            let local = |piece: usize| {
                let piece = self.rows(&(piece..piece + 1), batch);
                (piece.start - rows.start)..(piece.end - rows.start)
            };
            let pieces = shares[index].clone().map(local).collect();
            Part::of(&board, index, rows, pieces)
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
        match board.failure() {
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

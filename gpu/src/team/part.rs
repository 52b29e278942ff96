//! One part of a batch, and the board over which the parts of a process exchange their values.

use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tch::Tensor;

use crate::distributed::{GroupError, ProcessGroup};

/// One part of a batch, that of one thread, as the code that evaluates it sees it.
pub struct Part<'a> {
    index: usize,
    rows: Range<usize>,
    pieces: Vec<Range<usize>>,
    board: Option<&'a Board<'a>>,
}

impl<'a> Part<'a> {
    /// Part `index` of those that meet at `board`: its `rows` of the batch, and where in them its `pieces` lie.
    pub(super) fn of(
        board: &'a Board<'a>,
        index: usize,
        rows: Range<usize>,
        pieces: Vec<Range<usize>>,
    ) -> Self {
        Self { index, rows, pieces, board: Some(board) }
    }

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
    /// equally often. After a failure of the group the numbers are NaN, and [`super::Team::each`] returns the failure.
    pub fn gather<const N: usize>(&self, values: [&Tensor; N]) -> [Tensor; N] {
        if self.board.is_none() {
            return values.map(Tensor::shallow_clone);
        }
        let whole = self.gather_columns(&Tensor::stack(&values, 0));
        std::array::from_fn(|index| whole.get(index as i64))
    }

    /// [`Self::gather`] for the columns of a matrix: `(k, local)` to `(k, batch)`.
    pub fn gather_columns(&self, columns: &Tensor) -> Tensor {
        match self.board {
            Some(board) => board.gather(self.index, &columns.detach()),
            None => columns.shallow_clone(),
        }
    }
}

/// Where the parts of one process leave their values for each other; the last one to come exchanges them with the other processes.
pub(super) struct Board<'a> {
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

impl<'a> Board<'a> {
    /// For `parts` parts of the process that holds `rows` of a batch.
    pub(super) fn new(
        group: Option<&'a ProcessGroup>,
        rows: Range<usize>,
        batch: usize,
        parts: usize,
    ) -> Self {
        Self { group, rows, batch, parts, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Why an exchange failed, if one did.
    pub(super) fn failure(&self) -> Option<GroupError> {
        lock(&self.state).failure.take()
    }

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
pub(super) struct Abandon<'a, 'b>(pub(super) &'a Board<'b>);

impl Drop for Abandon<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.0.state).abandoned = true;
            self.0.changed.notify_all();
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

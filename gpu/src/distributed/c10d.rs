//! A process group over the C functions of `c10d.cpp`.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use super::{GroupError, Rendezvous};

unsafe extern "C" {
    fn proxflow_group_open(
        host: *const c_char,
        port: u16,
        serves: bool,
        size: c_int,
        prefix: *const c_char,
        timeout_ms: i64,
        reason: *mut c_char,
        capacity: usize,
    ) -> *mut c_void;
    fn proxflow_group_connect(
        group: *mut c_void,
        rank: c_int,
        size: c_int,
        timeout_ms: i64,
        reason: *mut c_char,
        capacity: usize,
    ) -> c_int;
    fn proxflow_group_sum(
        group: *mut c_void,
        tensor: *mut C_tensor,
        reason: *mut c_char,
        capacity: usize,
    ) -> c_int;
    fn proxflow_group_leave(group: *mut c_void);
    fn proxflow_group_announce(
        group: *mut c_void,
        key: *const c_char,
        reason: *mut c_char,
        capacity: usize,
    ) -> c_int;
    fn proxflow_group_announced(
        group: *mut c_void,
        key: *const c_char,
        reason: *mut c_char,
        capacity: usize,
    ) -> c_int;
    fn proxflow_group_close(group: *mut c_void);
}

/// Share of the time limit after which an exchange gives up; the rest is for the roll call.
const EXCHANGE: f64 = 0.6;
/// Share of the time limit for which the roll call waits.
const ROLL_CALL: f64 = 0.3;
/// Pause between two looks at the store.
const PAUSE: Duration = Duration::from_millis(20);

/// The store where processes meet, served from this process for others, as a launcher such as `torchrun` does; closed when dropped.
pub struct StoreServer {
    _handle: Handle,
}

impl StoreServer {
    /// Serves `host:port` of `rendezvous` whatever its rank.
    pub fn start(rendezvous: &Rendezvous, timeout: Duration) -> Result<Self, GroupError> {
        let place = Rendezvous { rank: 0, served_by_launcher: false, ..rendezvous.clone() };
        let handle = Handle::open(&place, timeout).map_err(|reason| store_error(&place, timeout, reason))?;
        Ok(Self { _handle: handle })
    }
}

/// A group of processes that sum tensors together. All of them must call [`Self::sum`] in the same order with equal shapes.
pub struct ProcessGroup {
    rendezvous: Rendezvous,
    timeout: Duration,
    handle: Arc<Handle>,
}

impl ProcessGroup {
    /// Meets the other processes; each operation from then on ends within `timeout`, well or ill.
    pub fn join(rendezvous: &Rendezvous, timeout: Duration) -> Result<Self, GroupError> {
        let handle =
            Handle::open(rendezvous, timeout).map_err(|reason| store_error(rendezvous, timeout, reason))?;
        let group = Self { rendezvous: rendezvous.clone(), timeout, handle: Arc::new(handle) };
        group.handle.announce("here", group.rank()).map_err(|reason| group.store_error(reason))?;
        let limit = timeout.mul_f64(EXCHANGE);
        if let Err(reason) = group.handle.connect(group.rank(), group.size(), limit) {
            return Err(group.roll_call("here", reason));
        }
        Ok(group)
    }

    /// Number of this process, from 0.
    pub fn rank(&self) -> usize {
        self.rendezvous.rank
    }

    /// Number of processes.
    pub fn size(&self) -> usize {
        self.rendezvous.size
    }

    /// Replaces `tensor` by its sum over all processes, the same in each, bit for bit. Tensors of other devices go through the host.
    pub fn sum(&self, tensor: &mut Tensor) -> Result<(), GroupError> {
        let mut host = tensor.detach().to_device(Device::Cpu).contiguous();
        self.handle.sum(&mut host).map_err(|reason| {
            self.handle.leave();
            self.roll_call("failed", reason)
        })?;
        tch::no_grad(|| tensor.copy_(&host));
        Ok(())
    }

    /// Tells the others that this process has failed, too, and asks who has not: those are lost.
    fn roll_call(&self, key: &'static str, reason: String) -> GroupError {
        let (sender, receiver) = mpsc::channel();
        let (handle, rank, size) = (Arc::clone(&self.handle), self.rank(), self.size());
        let patience = self.timeout.mul_f64(ROLL_CALL);
        // A store that is frozen answers no call at all; the thread is then left behind.
        std::thread::spawn(move || {
            let _ = sender.send(handle.missing(key, rank, size, patience));
        });
        match receiver.recv_timeout(patience + 10 * PAUSE) {
            Ok(Ok(missing)) if missing.is_empty() => GroupError::Exchange { size, reason },
            Ok(Ok(missing)) => {
                GroupError::Lost { missing, size, seconds: self.timeout.as_secs_f64(), reason }
            }
            Ok(Err(_)) | Err(_) => self.store_error(reason),
        }
    }

    fn store_error(&self, reason: String) -> GroupError {
        store_error(&self.rendezvous, self.timeout, reason)
    }
}

fn store_error(rendezvous: &Rendezvous, timeout: Duration, reason: String) -> GroupError {
    GroupError::Store {
        address: format!("{}:{}", rendezvous.host, rendezvous.port),
        server: if rendezvous.served_by_launcher { "the launcher" } else { "rank 0" },
        seconds: timeout.as_secs_f64(),
        reason,
    }
}

/// The C++ object. Its store may be asked from any thread; its exchanges run one at a time.
struct Handle {
    group: *mut c_void,
    exchanging: Mutex<()>,
}

// SAFETY: c10d's store serialises its calls; exchanges are serialised by `exchanging`.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    fn open(rendezvous: &Rendezvous, timeout: Duration) -> Result<Self, String> {
        let Rendezvous { rank, size, port, .. } = *rendezvous;
        let serves = rank == 0 && !rendezvous.served_by_launcher;
        let (host, prefix) = (c_string(&rendezvous.host)?, c_string(&rendezvous.prefix)?);
        let mut group = std::ptr::null_mut();
        let milliseconds = timeout.mul_f64(EXCHANGE).as_millis() as i64;
        called(|reason, capacity| {
            // SAFETY: strings that outlive the call, a buffer of the stated capacity.
            group = unsafe {
                let (host, prefix) = (host.as_ptr(), prefix.as_ptr());
                proxflow_group_open(host, port, serves, size as c_int, prefix, milliseconds, reason, capacity)
            };
            if group.is_null() { -1 } else { 0 }
        })?;
        Ok(Self { group, exchanging: Mutex::new(()) })
    }

    fn connect(&self, rank: usize, size: usize, timeout: Duration) -> Result<(), String> {
        let milliseconds = timeout.as_millis() as i64;
        called(|reason, capacity| {
            // SAFETY: an open group, a buffer of the stated capacity.
            unsafe {
                proxflow_group_connect(
                    self.group,
                    rank as c_int,
                    size as c_int,
                    milliseconds,
                    reason,
                    capacity,
                )
            }
        })
        .map(drop)
    }

    fn sum(&self, tensor: &mut Tensor) -> Result<(), String> {
        let _one = self.exchanging.lock().unwrap_or_else(PoisonError::into_inner);
        let tensor = tensor.as_mut_ptr();
        called(|reason, capacity| {
            // SAFETY: an open group, a live tensor, a buffer of the stated capacity.
            unsafe { proxflow_group_sum(self.group, tensor, reason, capacity) }
        })
        .map(drop)
    }

    fn leave(&self) {
        let _one = self.exchanging.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: an open group; its store stays open.
        unsafe { proxflow_group_leave(self.group) }
    }

    fn announce(&self, key: &str, rank: usize) -> Result<(), String> {
        let key = c_string(&format!("{key}/{rank}"))?;
        called(|reason, capacity| {
            // SAFETY: an open group, a string that outlives the call, a buffer of the stated capacity.
            unsafe { proxflow_group_announce(self.group, key.as_ptr(), reason, capacity) }
        })
        .map(drop)
    }

    fn announced(&self, key: &str, rank: usize) -> Result<bool, String> {
        let key = c_string(&format!("{key}/{rank}"))?;
        called(|reason, capacity| {
            // SAFETY: as for `announce`.
            unsafe { proxflow_group_announced(self.group, key.as_ptr(), reason, capacity) }
        })
        .map(|found| found == 1)
    }

    /// Announces this rank under `key` and waits for the others: those that have not come after `patience`.
    fn missing(
        &self,
        key: &'static str,
        rank: usize,
        size: usize,
        patience: Duration,
    ) -> Result<Vec<usize>, String> {
        let start = Instant::now();
        self.announce(key, rank)?;
        let mut missing: Vec<usize> = (0..size).collect();
        while !missing.is_empty() && start.elapsed() < patience {
            let mut absent = Vec::new();
            for other in missing {
                if !self.announced(key, other)? {
                    absent.push(other);
                }
            }
            missing = absent;
            std::thread::sleep(PAUSE);
        }
        if rank == 0 {
            // The store may live here: the others must be able to finish their own roll call.
            std::thread::sleep(5 * PAUSE);
        }
        Ok(missing)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: nobody else holds the group.
        unsafe { proxflow_group_close(self.group) }
    }
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|error| error.to_string())
}

/// Calls a C function that returns a negative number with a reason, or its result.
fn called(call: impl FnOnce(*mut c_char, usize) -> c_int) -> Result<c_int, String> {
    let mut reason = [0 as c_char; 512];
    let result = call(reason.as_mut_ptr(), reason.len());
    if result >= 0 {
        return Ok(result);
    }
    // SAFETY: the C side ends its text with a zero within the buffer.
    Err(unsafe { CStr::from_ptr(reason.as_ptr()) }.to_string_lossy().trim().to_owned())
}

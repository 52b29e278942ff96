// The few calls of c10d, the distributed engine inside libtorch, that a data-parallel run needs, as C functions.
// A failing call returns null or a negative number and leaves its reason, one line, in `reason`.
#include <cstring>
#include <memory>

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

namespace {

struct Group {
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo;
};

// The first line of an exception's text: libtorch appends a backtrace.
void note(char* reason, size_t capacity, const char* text) {
  const size_t length = std::min(std::strcspn(text, "\n"), capacity - 1);
  std::memcpy(reason, text, length);
  reason[length] = '\0';
}

template <typename Body>
int guarded(char* reason, size_t capacity, Body&& body) {
  try {
    return body();
  } catch (const c10::Error& error) {
    note(reason, capacity, error.what_without_backtrace());
  } catch (const std::exception& error) {
    note(reason, capacity, error.what());
  } catch (...) {
    note(reason, capacity, "an unknown exception");
  }
  return -1;
}

} // namespace

extern "C" {

// Opens the store `host:port`, serving it if `serves`; keys live under `prefix`.
Group* proxflow_group_open(const char* host, uint16_t port, bool serves, int size, const char* prefix, int64_t timeout_ms,
                           char* reason, size_t capacity) {
  Group* opened = nullptr;
  guarded(reason, capacity, [&] {
    auto group = std::make_unique<Group>();
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = serves;
    options.numWorkers = size;
    options.waitWorkers = false;
    options.timeout = std::chrono::milliseconds(timeout_ms);
    group->store =
        c10::make_intrusive<c10d::PrefixStore>(prefix, c10::make_intrusive<c10d::TCPStore>(host, options));
    group->store->setTimeout(options.timeout);
    opened = group.release();
    return 0;
  });
  return opened;
}

// Connects to the other processes.
int proxflow_group_connect(Group* group, int rank, int size, int64_t timeout_ms, char* reason, size_t capacity) {
  return guarded(reason, capacity, [&] {
    group->gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(
        group->store, rank, size, c10d::ProcessGroupGloo::Options::create_default(std::chrono::milliseconds(timeout_ms)));
    return 0;
  });
}

// Replaces a contiguous tensor by its sum over all processes.
int proxflow_group_sum(Group* group, at::Tensor* tensor, char* reason, size_t capacity) {
  return guarded(reason, capacity, [&] {
    TORCH_CHECK(group->gloo, "the group has been left");
    std::vector<at::Tensor> tensors{*tensor};
    c10d::AllreduceOptions options;
    options.reduceOp = c10d::ReduceOp::SUM;
    group->gloo->allreduce(tensors, options)->wait();
    return 0;
  });
}

// Closes this process's connections, so that its peers notice at once; the store stays.
void proxflow_group_leave(Group* group) {
  char reason[2];
  guarded(reason, sizeof reason, [&] {
    group->gloo.reset();
    return 0;
  });
}

// Writes an empty value under `key`.
int proxflow_group_announce(Group* group, const char* key, char* reason, size_t capacity) {
  return guarded(reason, capacity, [&] {
    group->store->set(key, std::vector<uint8_t>{1});
    return 0;
  });
}

// 1 if `key` has been announced, 0 if not.
int proxflow_group_announced(Group* group, const char* key, char* reason, size_t capacity) {
  return guarded(reason, capacity, [&] { return group->store->check({key}) ? 1 : 0; });
}

void proxflow_group_close(Group* group) {
  char reason[2];
  guarded(reason, sizeof reason, [&] {
    delete group;
    return 0;
  });
}

} // extern "C"

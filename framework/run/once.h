// SPDX-License-Identifier: Apache-2.0
// What several threads want to know, worked out once.
#pragma once

#include <future>
#include <mutex>
#include <unordered_map>

namespace plugpull::run {

// Thread-safe but for clear().
template <typename Key, typename Hash, typename Value>
class Once {
 public:
  // The value of a key; the first who asks computes it, and others who ask meanwhile wait. The
  // reference is valid until clear().
  template <typename Compute>
  const Value& Get(const Key& key, const Compute& compute) {
    std::unique_lock lock(mutex_);
    if (const auto it = map_.find(key); it != map_.end()) {
      const std::shared_future<Value> known = it->second;
      lock.unlock();
      return known.get();
    }
    std::promise<Value> promise;
    const std::shared_future<Value> future =
        map_.emplace(key, promise.get_future().share()).first->second;
    lock.unlock();
    promise.set_value(compute());
    return future.get();
  }

  void clear() { map_.clear(); }

 private:
  std::mutex mutex_;
  std::unordered_map<Key, std::shared_future<Value>, Hash> map_;
};

}  // namespace plugpull::run

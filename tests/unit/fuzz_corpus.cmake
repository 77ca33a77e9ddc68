# SPDX-License-Identifier: Apache-2.0
plugpull_test(fuzz_corpus_test
  SOURCES unit/fuzz_corpus_test.cc unit/fuzz_seeds.cc unit/journal_builder.cc unit/klog_forms.cc
  DEPS fuzz_log_reader_target fuzz_superblock_target fuzz_journal_target fuzz_crash_state_id_target
       fuzz_recovery_target fuzz_consistency_target fuzz_incident_target
       framework_ext4 framework_os tests_support PkgConfig::ZSTD)

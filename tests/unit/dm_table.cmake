# SPDX-License-Identifier: Apache-2.0
plugpull_test(dm_table_test SOURCES unit/dm_table_test.cc unit/dm_targets_test.cc DEPS dm_targets_table)

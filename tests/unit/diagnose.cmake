# SPDX-License-Identifier: Apache-2.0
plugpull_test(diagnose_test SOURCES unit/diagnose_minimize_test.cc DEPS framework_diagnose)

# SPDX-License-Identifier: Apache-2.0
plugpull_test(agent_contract_test
  SOURCES unit/agent_contract_test.cc unit/agent_broken_test.cc unit/agent_timeline.cc
  DEPS framework_agent)

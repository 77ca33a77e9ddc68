#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# sqlite_workload.sh FOLDER ROWS JOURNAL_MODE SYNCHRONOUS: one transaction for each row, in one
# connection, and a mark in the block log when SQLite says that it is committed.
set -eu
database=$1/rows.db rows=$2 mode=$3 synchronous=$4
{
  echo ".bail on"
  echo "PRAGMA journal_mode=$mode;"
  echo "PRAGMA synchronous=$synchronous;"
  # Small, so that the log of WAL mode is written back now and then.
  echo "PRAGMA wal_autocheckpoint=20;"
  echo "CREATE TABLE rows (id INTEGER PRIMARY KEY, body TEXT);"
  echo ".shell plugpull-mark done table"
  for ((i = 1; i <= rows; i++)); do
    echo "INSERT INTO rows VALUES ($i, replace(hex(zeroblob(150)), '00', printf('%08d', $i)));"
    # An older row changes, too, so that pages that are in use are written over.
    echo "UPDATE rows SET body = body WHERE id = $i / 2;"
    echo ".shell plugpull-mark done row-$i"
  done
} | sqlite3 "$database"

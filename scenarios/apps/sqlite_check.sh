#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# sqlite_check.sh [ROWS MODE SYNCHRONOUS]: run in the mounted root. The database must be whole, and
# every row that the block log has a mark of must be there, with what was put into it.
set -eu
command -v sqlite3 > /dev/null || exit 127
acknowledged=$(sed -n 's/^done row-//p' "$PLUGPULL_MARKS" | sort -n | tail -1)
if [ ! -e rows.db ]; then
  # Before the table was acknowledged there need not be a database.
  if grep -q '^done table$' "$PLUGPULL_MARKS"; then
    echo "the database is gone; ${acknowledged:-0} rows were acknowledged"
    exit 1
  fi
  exit 0
fi
said=$(sqlite3 -batch rows.db 'PRAGMA integrity_check;' 2>&1) || true
if [ "$said" != ok ]; then
  echo "integrity_check: $said" | head -20
  exit 1
fi
[ -n "$acknowledged" ] || exit 0
missing=$(sqlite3 -batch rows.db "
  WITH RECURSIVE wanted(id) AS
    (SELECT 1 UNION ALL SELECT id + 1 FROM wanted WHERE id < $acknowledged)
  SELECT id FROM wanted LEFT JOIN rows USING (id)
  WHERE body IS NOT replace(hex(zeroblob(150)), '00', printf('%08d', id));" 2>&1) || {
  echo "reading the rows: $missing"
  exit 1
}
if [ -n "$missing" ]; then
  echo "$acknowledged rows were acknowledged; lost or changed are: $(echo $missing | cut -c -300)"
  exit 1
fi

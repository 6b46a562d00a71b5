// The graph's data as the page holds it, in columns (packing.py), made into records again. Equal values of a column are
// one object, which nobody writes into. Records inside of records are made when they are asked for.

function unpacked(data) {
  return { ...data, nodes: allRecords(data.nodes), edges: allRecords(data.edges) };
}

// Every row of a table as an object. What is no plain value of it is read through its class.
function allRecords({ rows, columns }) {
  class Row {
    constructor(row) {
      this.row = row;
    }
  }
  const found = Array.from({ length: rows }, (_, row) => new Row(row));
  for (const [name, column] of Object.entries(columns)) {
    const read = readerOf(column);
    if (column.table) {
      Object.defineProperty(Row.prototype, name, {
        get() {
          return read(this.row);
        },
      });
    } else for (const one of found) one[name] = read(one.row);
  }
  return found;
}

// row -> value
function readerOf(column) {
  const { all, of, is, each, table, lists } = column;
  if (of) return (row) => of[is[row]];
  if (each) return (row) => each[row];
  if (!table) return () => all;
  const read = recordsOf(table);
  if (!lists) return read;
  const starts = [0];
  for (const length of lists) starts.push(starts[starts.length - 1] + length);
  return (row) => Array.from({ length: lists[row] }, (_, k) => read(starts[row] + k));
}

// row -> record, or null
function recordsOf({ rows, at, columns }) {
  const readers = Object.entries(columns).map(([name, column]) => [name, readerOf(column)]);
  const places = at ? new Int32Array(rows).fill(-1) : null;
  if (at) at.forEach((row, k) => (places[row] = k));
  const made = new Map();
  return (row) => {
    const k = places ? places[row] : row;
    if (k < 0) return null;
    if (!made.has(k)) made.set(k, Object.fromEntries(readers.map(([name, read]) => [name, read(k)])));
    return made.get(k);
  };
}

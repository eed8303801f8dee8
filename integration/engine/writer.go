package engine

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// Writer is a process in a container that appends numbered lines to a file, and rewrites another.
type Writer struct {
	engine    *Engine
	container string
	log       string
}

// StartWriter starts a Writer of a new file in a container that runs. The container needs a
// shell. The Writer ends at the first line that it cannot write.
func StartWriter(t testing.TB, e *Engine, container, log string) *Writer {
	t.Helper()
	const script = `i=0; while [ ! -e "$1.stop" ] && head -c 512 /dev/urandom >"$1.block" && echo $i >>"$1"; do i=$((i+1)); done; echo $i >"$1.ended"`
	e.Docker(t, "exec", "-d", container, "sh", "-c", script, "sh", log)
	w := &Writer{e, container, log}
	w.AwaitLines(t, 1)
	return w
}

// CountLines returns how many lines there are. It fails the test for one that is lost or wrong.
func (w *Writer) CountLines(t testing.TB) int {
	t.Helper()
	const script = `i=0; while read n; do [ "$n" = $i ] || { echo "line $i is $n"; exit 1; }; i=$((i+1)); done <"$1"; echo $i`
	n, err := strconv.Atoi(w.engine.MustExec(t, w.container, "sh", "-c", script, "sh", w.log))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// AwaitLines waits until there are that many lines.
func (w *Writer) AwaitLines(t testing.TB, least int) {
	t.Helper()
	inguest.WaitFor(t, func() error {
		out, err := w.engine.Exec(w.container, "sh", "-c", `wc -l <"$1"`, "sh", w.log)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(out)
		if err == nil && n < least {
			err = fmt.Errorf("the writer has written %d lines of %d", n, least)
		}
		return err
	})
}

// AwaitMore waits until the Writer has written more lines.
func (w *Writer) AwaitMore(t testing.TB) {
	t.Helper()
	w.AwaitLines(t, w.CountLines(t)+1)
}

// Stop ends the Writer, and fails the test unless every line that it wrote is there.
func (w *Writer) Stop(t testing.TB) {
	t.Helper()
	w.engine.MustExec(t, w.container, "sh", "-c", `echo >"$1.stop"`, "sh", w.log)
	wrote := ""
	inguest.WaitFor(t, func() (err error) {
		wrote, err = w.engine.Exec(w.container, "cat", w.log+".ended")
		return err
	})
	if n := w.CountLines(t); strconv.Itoa(n) != wrote {
		t.Errorf("%s lines were written, and %d are there", wrote, n)
	}
}

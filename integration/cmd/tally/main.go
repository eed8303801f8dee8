// Command tally adds up the results of several runs of `go test -json`. It prints
// a table of the runs and, as the last line, "N passed, N failed, N skipped". It fails when a test
// failed, a package did not build, or nothing ran at all.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: tally FILE.json…")
		os.Exit(2)
	}
	var sum tally
	for _, name := range os.Args[1:] {
		if err := sum.addFile(name); err != nil {
			fmt.Fprintln(os.Stderr, "tally:", err)
			os.Exit(2)
		}
	}
	if err := printRows(os.Stdout, sum.rows); err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(2)
	}
	for _, name := range sum.failures {
		fmt.Println("FAIL", name)
	}
	for _, name := range sum.skips {
		fmt.Println("SKIP", name)
	}
	fmt.Println(sum)
	if !sum.good() {
		os.Exit(1)
	}
}

// event is a line of test2json's output, as far as it matters here.
type event struct {
	Action  string
	Package string
	Test    string
}

type tally struct {
	passed   int
	failures []string
	skips    []string
	rows     []row
	run      string // of the file being read: which guest, which tier
	// inner counts failed tests per package: a package that fails without one
	// did not build, crashed or leaked, and counts itself.
	inner map[string]int
}

// String is the closing line.
func (t tally) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", t.passed, len(t.failures), len(t.skips))
}

func (t tally) good() bool { return t.passed > 0 && len(t.failures) == 0 }

func (t *tally) addFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	t.run = strings.TrimSuffix(filepath.Base(name), ".json")
	passed, failed, skipped := t.passed, len(t.failures), len(t.skips)
	if err := t.add(f); err != nil {
		return err
	}
	r := row{name: t.run, passed: t.passed - passed, failed: len(t.failures) - failed, skipped: len(t.skips) - skipped}
	if err := r.read(strings.TrimSuffix(name, ".json")); err != nil {
		return err
	}
	t.rows = append(t.rows, r)
	return nil
}

func (t *tally) add(r io.Reader) error {
	t.inner = map[string]int{}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 && line[0] == '{' {
			var e event
			if err := json.Unmarshal(line, &e); err != nil {
				return fmt.Errorf("%.80q is no test event: %w", line, err)
			}
			t.count(e)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (t *tally) count(e event) {
	name := strings.TrimSpace(t.run + " " + e.Package + " " + e.Test)
	switch {
	case e.Action == "pass" && e.Test != "":
		t.passed++
	case e.Action == "fail" && e.Test != "":
		t.inner[e.Package]++
		t.failures = append(t.failures, name)
	case e.Action == "fail" && t.inner[e.Package] == 0:
		t.failures = append(t.failures, name)
	case e.Action == "skip" && e.Test != "":
		t.skips = append(t.skips, name)
	}
}

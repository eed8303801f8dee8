package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/overlayzfs/overlayzfs/integration/vm"
)

// row is one run: which machines it had, how long it took, what its tests said.
type row struct {
	name                    string
	machines                []vm.Record // each kind once
	seconds                 string
	passed, failed, skipped int
}

// read adds what lies beside the events NAME.json: the machines, one a line,
// in NAME.machines, and the time in NAME.seconds. A run on the host has none.
func (r *row) read(base string) error {
	seconds, err := readIfThere(base + ".seconds")
	if err != nil {
		return err
	}
	r.seconds = strings.TrimSpace(string(seconds))
	machines, err := readIfThere(base + ".machines")
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(machines))
	for lines.Scan() {
		var record vm.Record
		if err := json.Unmarshal(lines.Bytes(), &record); err != nil {
			return fmt.Errorf("%s.machines: %w", base, err)
		}
		same := func(o vm.Record) bool {
			return o.Machine == record.Machine && o.Kernel == record.Kernel && o.Suite == record.Suite
		}
		if !slices.ContainsFunc(r.machines, same) {
			r.machines = append(r.machines, record)
		}
	}
	return lines.Err()
}

func readIfThere(name string) ([]byte, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// printRows prints the runs as a table.
func printRows(out io.Writer, rows []row) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "tier\tmachine\tkernel\tOpenZFS\tengine\tseconds\tpassed\tfailed\tskipped")
	for _, r := range rows {
		var kinds, kernels, modules, engines []string
		for _, m := range r.machines {
			kinds, kernels, modules = append(kinds, string(m.Machine)), append(kernels, m.Kernel), append(modules, m.OpenZFS)
			engines = append(engines, shortVersions(m.Engines))
		}
		column := func(values []string, none string) string {
			if values = slices.Compact(values); len(values) == 0 {
				return none
			}
			return strings.Join(values, ", ")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\n", r.name, column(kinds, "host"), column(kernels, "-"), column(modules, "-"),
			column(engines, "-"), r.seconds, r.passed, r.failed, r.skipped)
	}
	return w.Flush()
}

// shortVersions leaves out what Debian adds to an engine's version.
func shortVersions(engines []string) string {
	var short []string
	for _, engine := range engines {
		name, version, _ := strings.Cut(engine, "=")
		if end := strings.IndexAny(version, "~+-"); end > 0 {
			version = version[:end]
		}
		short = append(short, name+" "+version)
	}
	return strings.Join(short, " ")
}

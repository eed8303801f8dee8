package main

import (
	"encoding/json"
	"fmt"
	"io"

	units "github.com/docker/go-units"
	"github.com/spf13/pflag"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// output is the flag that chooses JSON.
type output struct{ json bool }

func (o *output) register(flags *pflag.FlagSet) {
	flags.BoolVar(&o.json, "json", false, "print JSON")
}

// writeJSON prints a value for programs.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// nonNil returns items, or an empty slice for nil, so that JSON has [] and not null.
func nonNil[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

// writeObstacles prints why a command cannot begin, below its plan.
func writeObstacles(w io.Writer, obstacles []string) error {
	for _, why := range obstacles {
		if _, err := fmt.Fprintln(w, "  cannot begin:", fault.Printable(why)); err != nil {
			return err
		}
	}
	return nil
}

// count is a number of things, in words.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// bytesText is a size for people, in powers of 1024.
func bytesText[T int64 | uint64](n T) string { return units.BytesSize(float64(n)) }

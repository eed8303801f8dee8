package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/overlayzfs/overlayzfs/operator/dockerd"
)

// value is a flag's string. Help shows its placeholder where pflag would show the
// type, so that the description need not repeat it.
type value struct {
	text        *string
	placeholder string
}

func (v value) String() string {
	if v.text == nil { // pflag asks a zero value
		return ""
	}
	return *v.text
}

// Set keeps the text as it is.
func (v value) Set(text string) error {
	*v.text = text
	return nil
}

// Type is the placeholder.
func (v value) Type() string { return v.placeholder }

// valueFlag defines a flag that takes a string. Help shows a default in quotes.
func valueFlag(flags *pflag.FlagSet, text *string, name, short, placeholder, preset, usage string) {
	*text = preset
	flag := flags.VarPF(value{text, placeholder}, name, short, usage)
	if preset != "" {
		flag.DefValue = strconv.Quote(preset)
	}
}

// hostFlag defines the flag that names dockerd's socket.
func hostFlag(flags *pflag.FlagSet, host *string, c console) {
	valueFlag(flags, host, "host", "", "URL", cmp.Or(c.getenv("DOCKER_HOST"), dockerd.DefaultHost), "dockerd's socket, unix://PATH (env DOCKER_HOST)")
}

// isGiven reports whether a flag has another value than its default.
func isGiven(flags *pflag.FlagSet, name string) bool {
	f := flags.Lookup(name)
	if f == nil || !f.Changed {
		return false
	}
	preset, err := strconv.Unquote(f.DefValue)
	if err != nil {
		preset = f.DefValue
	}
	return f.Value.String() != preset
}

// choice is a flag's list of names out of those known.
type choice struct {
	names *[]string
	known []string
}

func (v choice) String() string {
	if v.names == nil {
		return ""
	}
	return strings.Join(*v.names, ",")
}

// Set takes names separated by commas, and refuses one that is not known.
func (v choice) Set(text string) error {
	names := strings.Split(text, ",")
	for _, name := range names {
		if !slices.Contains(v.known, name) {
			return fmt.Errorf("no column %q; the columns are %s", name, strings.Join(v.known, ", "))
		}
	}
	*v.names = names
	return nil
}

// Type is the placeholder.
func (v choice) Type() string { return "COLUMN,..." }

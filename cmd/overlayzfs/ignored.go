package main

import "github.com/spf13/pflag"

// rule is about a flag that would be ignored, and says what to do instead.
type rule struct {
	flag    string
	with    string // given together with this one
	without string // or while this one is not given
	instead string
}

// refuseIgnored refuses flags that would be ignored: who gives one expects something
// of it.
func refuseIgnored(flags *pflag.FlagSet, rules []rule) error {
	for _, r := range rules {
		switch {
		case !given(flags, r.flag):
		case r.with != "" && given(flags, r.with):
			return usagef("--%s means nothing with --%s: %s", r.flag, r.with, r.instead)
		case r.without != "" && !given(flags, r.without):
			return usagef("--%s means nothing without --%s: %s", r.flag, r.without, r.instead)
		}
	}
	return nil
}

// given reports whether a flag says something else than without it.
func given(flags *pflag.FlagSet, name string) bool {
	f := flags.Lookup(name)
	return f.Changed && f.Value.String() != f.DefValue
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// errNotAgreed is a question that was not answered with yes.
var errNotAgreed = errors.New("not agreed; nothing was changed")

// consent are the flags of a command that changes something.
type consent struct {
	dryRun bool
	yes    bool
}

func (a *consent) flag(flags *pflag.FlagSet) {
	flags.BoolVar(&a.dryRun, "dry-run", false, "say what would be done, and do nothing")
	flags.BoolVarP(&a.yes, "yes", "y", false, "do not ask")
}

// check refuses a question in the middle of what a program reads.
func (a *consent) check(o output) error {
	if o.json && !a.yes && !a.dryRun {
		return usagef("--json asks nothing: say --yes or --dry-run")
	}
	return nil
}

// agree asks, unless that was answered beforehand.
func (a *consent) agree(ctx context.Context, c console, question string) error {
	if a.yes {
		return nil
	}
	return agree(ctx, c, question)
}

// agree asks a person. Where there is none it fails: silence is no consent.
func agree(ctx context.Context, c console, question string) error {
	if f, ok := c.in.(*os.File); ok && !isTerminal(f) {
		return usagef("there is no terminal to ask on: say --yes")
	}
	fmt.Fprint(c.out, question+" (yes/no) ")
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(c.in).ReadString('\n') // an end is no yes
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return errors.Join(errNotAgreed, ctx.Err())
	case text := <-answer:
		if text == "yes" || text == "y" {
			return nil
		}
		return errNotAgreed
	}
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

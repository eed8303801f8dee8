package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// errDeclined is returned when a question is not answered with yes.
var errDeclined = errors.New("not confirmed; nothing was changed")

// dryRunUsage describes the flag --dry-run.
const dryRunUsage = "print what would be done, and do nothing"

// consent are the flags of a command that changes something.
type consent struct {
	dryRun bool
	yes    bool
}

func (a *consent) register(flags *pflag.FlagSet) {
	flags.BoolVar(&a.dryRun, "dry-run", false, dryRunUsage)
	flags.BoolVarP(&a.yes, "yes", "y", false, "do not ask for confirmation")
}

// checkPrompt refuses to print a question between JSON.
func (a *consent) checkPrompt(o output) error {
	if o.json && !a.yes && !a.dryRun {
		return usagef("cannot prompt with --json; pass --yes or --dry-run")
	}
	return nil
}

// confirm asks, unless --yes has answered.
func (a *consent) confirm(ctx context.Context, c console, question string) error {
	if a.yes {
		return nil
	}
	return confirm(ctx, c, question)
}

// confirm asks a person. Without a terminal it fails: silence is no consent.
func confirm(ctx context.Context, c console, question string) error {
	if f, ok := c.in.(*os.File); ok && !isTerminal(f) {
		return usagef("cannot prompt without a terminal; pass --yes")
	}
	fmt.Fprint(c.out, question+" (yes/no) ")
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(c.in).ReadString('\n') // end of file is not yes
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return errors.Join(errDeclined, ctx.Err())
	case text := <-answer:
		if text == "yes" || text == "y" {
			return nil
		}
		return errDeclined
	}
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/overlayzfs/overlayzfs/operator/migrate"
	"github.com/overlayzfs/overlayzfs/operator/transfer/receive"
	"github.com/overlayzfs/overlayzfs/snapshot"
)

// The exit codes besides 0.
const (
	exitFailed     = 1
	exitUsage      = 2
	exitRefused    = 3
	exitUnfinished = 4
	exitWarning    = 5
	exitBroken     = 6
)

// exits says what the codes mean. Help and manual pages print it.
var exits = []struct {
	code int
	text string
}{
	{0, "done, and nothing is wrong"},
	{exitFailed, "it failed"},
	{exitUsage, "it was called wrongly"},
	{exitRefused, "it was refused, and has changed nothing"},
	{exitUnfinished, "it stopped half-way, and has to be run again"},
	{exitWarning, "done; something it looked at wants attention"},
	{exitBroken, "done; something it looked at is broken"},
}

func exitText() string {
	text := &strings.Builder{}
	text.WriteString("Exit codes:")
	for _, exit := range exits {
		fmt.Fprintf(text, "\n  %d  %s", exit.code, exit.text)
	}
	return text.String()
}

// usageError is a command that was called wrongly.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errRefused is in the error of a command that was not begun: everything is as
// it was.
var errRefused = errors.New("refused, and nothing was changed")

// errUnfinished is in the error of a command that stopped half-way.
var errUnfinished = errors.New("not finished: run it again")

// findings is what a command found, when that is the answer and no failure.
type findings struct {
	text string
	code int
}

// Error says what was found.
func (f findings) Error() string { return f.text }

// exitCode is the one place where errors become exit codes.
func exitCode(err error) int {
	var usage usageError
	var found findings
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, snapshot.ErrUnfinished), errors.Is(err, receive.ErrUnfinished), errors.Is(err, errUnfinished):
		return exitUnfinished
	case errors.Is(err, snapshot.ErrRefused), errors.Is(err, migrate.ErrRefused), errors.Is(err, receive.ErrRefused), errors.Is(err, errNotAgreed), errors.Is(err, errRefused):
		return exitRefused
	case errors.As(err, &found):
		return found.code
	}
	return exitFailed
}

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/overlayzfs/overlayzfs/operator/backup"
	"github.com/overlayzfs/overlayzfs/operator/limit"
	"github.com/overlayzfs/overlayzfs/operator/migrate"
	"github.com/overlayzfs/overlayzfs/operator/transfer/imagereceive"
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

// exits describes the codes. Help and manual pages print it.
var exits = []struct {
	code int
	text string
}{
	{0, "done; nothing is wrong"},
	{exitFailed, "failed"},
	{exitUsage, "called wrongly"},
	{exitRefused, "refused; nothing was changed"},
	{exitUnfinished, "stopped half-way; run it again"},
	{exitWarning, "done; something needs attention"},
	{exitBroken, "done; something is broken"},
}

func exitText() string {
	text := &strings.Builder{}
	text.WriteString("Exit codes:")
	for _, exit := range exits {
		fmt.Fprintf(text, "\n  %d  %s", exit.code, exit.text)
	}
	return text.String()
}

// usageError is returned when a command is called wrongly.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errRefused is wrapped by the error of a command that refused to begin. It has changed
// nothing.
var errRefused = errors.New("refused, and nothing was changed")

// errUnfinished is wrapped by the error of a command that stopped half-way.
var errUnfinished = errors.New("not finished: run it again")

// findings is a result with an exit code, not a failure.
type findings struct {
	text string
	code int
}

// Error is the result in words.
func (f findings) Error() string { return f.text }

// exitCode maps an error to an exit code.
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
	case errors.Is(err, snapshot.ErrRefused), errors.Is(err, migrate.ErrRefused), errors.Is(err, receive.ErrRefused), errors.Is(err, imagereceive.ErrRefused), errors.Is(err, backup.ErrRefused), errors.Is(err, limit.ErrRefused), errors.Is(err, errDeclined), errors.Is(err, errRefused):
		return exitRefused
	case errors.As(err, &found):
		return found.code
	}
	return exitFailed
}

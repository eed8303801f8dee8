package guest

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

// scene lets the engine's harness, made for tests, run outside of one. What is
// fatal to a test ends with a panic that try catches; what tests clean up is
// left to the power cut.
type scene struct{ testing.TB }

type fatal struct{ error }

// try calls do with a scene and returns what was fatal.
func try(do func(t testing.TB)) (err error) {
	defer func() {
		if cause, ok := recover().(fatal); ok {
			err = cause
		}
	}()
	do(scene{})
	return nil
}

func (scene) Helper()                         {}
func (scene) Cleanup(func())                  {}
func (scene) Failed() bool                    { return false }
func (scene) Log(args ...any)                 { fmt.Fprintln(os.Stderr, args...) }
func (scene) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
func (s scene) Error(args ...any)             { s.Fatal(args...) }
func (s scene) Errorf(f string, args ...any)  { s.Fatalf(f, args...) }
func (scene) Fatal(args ...any)               { panic(fatal{errors.New(fmt.Sprintln(args...))}) }
func (scene) Fatalf(f string, args ...any)    { panic(fatal{fmt.Errorf(f, args...)}) }

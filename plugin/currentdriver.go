package plugin

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/lateopen"
)

// currentDriver holds the one open Driver and gives it to calls. opening.go opens it.
type currentDriver struct {
	open  Opener
	state stateFile
	log   logrus.FieldLogger

	// current is the open Driver. Its lock is the turn to open or restart a Driver.
	current *lateopen.Value[*sharedDriver]
	// params are the parameters of current, or of the next one to open. The turn protects
	// changes.
	params atomic.Pointer[InitParams]
	// hadInit is true once an Init came. The turn protects it.
	hadInit bool
	// stale, when set, ends the process: see Server.Stale.
	stale func(error)
}

func newCurrentDriver(open Opener, state stateFile, log logrus.FieldLogger) *currentDriver {
	current := lateopen.New(lateopen.Options[*sharedDriver]{Subject: "the driver", Log: log, Taken: (*sharedDriver).add})
	return &currentDriver{open: open, state: state, log: log, current: current}
}

var (
	errNoInit  = fault.New(fault.Invalid, "the engine has not sent Init")
	errStopped = errors.New("the plugin is stopping")
)

// acquire returns the current Driver for one call, which must release it. Without a
// Driver it waits for the opening under way. When none was, it opens one itself.
func (c *currentDriver) acquire(ctx context.Context) (*sharedDriver, error) {
	s, err := c.current.Acquire(ctx, c.openStored)
	switch {
	case err == nil:
		return s, nil
	case c.params.Load() == nil:
		return nil, fmt.Errorf("not initialised: %w", err)
	}
	return nil, fmt.Errorf("the driver is not open: %w", err)
}

// openStored opens the Driver with parameters that are stored already.
func (c *currentDriver) openStored(ctx context.Context) (*sharedDriver, error) {
	p := c.params.Load()
	if p == nil {
		if why := c.current.Failure(); why != nil {
			return nil, why
		}
		return nil, errNoInit
	}
	return c.openDriver(ctx, *p)
}

func (c *currentDriver) openDriver(ctx context.Context, p InitParams) (*sharedDriver, error) {
	d, err := c.open(ctx, p)
	if err != nil {
		return nil, err
	}
	return newSharedDriver(d, c.log), nil
}

// close gives up the current Driver. Calls at work finish with it.
func (c *currentDriver) close() {
	if s, wasOpen := c.current.Drop(errStopped); wasOpen {
		s.release()
	}
}

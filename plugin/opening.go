package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// init makes the Driver for p the current one.
func (c *currentDriver) init(ctx context.Context, p InitParams) error {
	if err := c.current.Lock(ctx); err != nil {
		return err
	}
	defer c.current.Unlock()
	c.hadInit = true
	if d := c.currentFor(p); d != nil {
		err := errors.Join(c.state.save(p), d.Restart(ctx))
		if errors.Is(err, fault.HomeGone) && c.stale != nil {
			c.stale(err)
		}
		if err == nil {
			c.bind(d, p)
		}
		return err
	}
	if err := c.closeCurrent(ctx); err != nil {
		return err
	}
	return c.current.Open(ctx, func(ctx context.Context) (*sharedDriver, error) {
		d, err := c.open(ctx, p)
		if err != nil {
			return nil, err
		}
		if err := c.state.save(p); err != nil {
			return nil, errors.Join(err, d.Close())
		}
		c.bind(d, p)
		c.params.Store(&p)
		return newSharedDriver(d, c.log), nil
	})
}

// bind gives the store and the state file a token in common, by which `overlayzfs gc`
// recognises the engine's records as this store's. A failure is only logged, because
// layers work without a token: a full disk must not keep the engine from starting.
func (c *currentDriver) bind(d Driver, p InitParams) {
	err := d.BindEngine(c.state.tokens(), func(tokens []string) error { return c.state.saveTokens(p, tokens) })
	if err != nil {
		c.log.WithError(err).Warn("no token in common with the store: `overlayzfs gc` refuses until the engine's next start")
	}
}

// storedParams returns the parameters for an Init that came without a body. When the
// previous process ended during Init (see Server.Stale), the engine repeats the call and
// has no body left, but the parameters were stored. Only a process's first Init can be
// such a repetition.
func (c *currentDriver) storedParams(ctx context.Context) (InitParams, error) {
	if err := c.current.Lock(ctx); err != nil {
		return InitParams{}, err
	}
	defer c.current.Unlock()
	p := c.params.Load()
	if c.hadInit || p == nil {
		return InitParams{}, errNoBody
	}
	return *p, nil
}

// closeCurrent closes the current Driver once its calls are done. Two open Drivers could
// meet on one home or dataset. When the next one cannot be opened, calls open the old one
// again.
func (c *currentDriver) closeCurrent(ctx context.Context) error {
	old, wasOpen := c.current.Drop(errReplaced)
	if !wasOpen {
		return nil
	}
	old.release()
	select {
	case <-old.closed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("calls of the engine before still use the driver: %w", context.Cause(ctx))
	}
}

var errReplaced = errors.New("the engine sent other parameters and went away")

// currentFor returns the current Driver if p are its parameters, or nil. The caller holds
// the turn.
func (c *currentDriver) currentFor(p InitParams) Driver {
	s, isOpen := c.current.Get()
	if !isOpen || !c.params.Load().equal(p) {
		return nil
	}
	return s.driver
}

// restore opens the Driver with the stored parameters, if there are any. The caller holds
// the turn.
func (c *currentDriver) restore(ctx context.Context) {
	p, err := c.state.load()
	if err != nil {
		c.log.WithError(err).Error("cannot read the stored parameters: waiting for the engine's Init")
		_ = c.current.Open(ctx, func(context.Context) (*sharedDriver, error) { return nil, err }) // for the calls that wait
		return
	}
	if p == nil {
		c.log.Debug("no stored parameters: waiting for the engine's Init")
		return
	}
	c.params.Store(p)
	if err := c.current.Open(ctx, c.openStored); err != nil {
		c.log.WithError(err).WithField("home", p.Home).Error("cannot open the driver again; the next call retries")
	}
}

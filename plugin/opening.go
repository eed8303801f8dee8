package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// init makes the Driver for p the current one.
func (k *currentDriver) init(ctx context.Context, p InitParams) error {
	if err := k.current.Lock(ctx); err != nil {
		return err
	}
	defer k.current.Unlock()
	k.hadInit = true
	if d := k.currentFor(p); d != nil {
		err := errors.Join(k.state.save(p), d.Restart(ctx))
		if errors.Is(err, fault.HomeGone) && k.stale != nil {
			k.stale(err)
		}
		if err == nil {
			k.bind(d, p)
		}
		return err
	}
	if err := k.closeCurrent(ctx); err != nil {
		return err
	}
	return k.current.Open(ctx, func(ctx context.Context) (*sharedDriver, error) {
		d, err := k.open(ctx, p)
		if err != nil {
			return nil, err
		}
		if err := k.state.save(p); err != nil {
			return nil, errors.Join(err, d.Close())
		}
		k.bind(d, p)
		k.params.Store(&p)
		return newSharedDriver(d, k.log), nil
	})
}

// bind gives the store and the state file a token in common, by which `overlayzfs gc`
// recognises the engine's records as this store's. A failure is only logged, because
// layers work without a token: a full disk must not keep the engine from starting.
func (k *currentDriver) bind(d Driver, p InitParams) {
	err := d.BindEngine(k.state.tokens(), func(tokens []string) error { return k.state.saveTokens(p, tokens) })
	if err != nil {
		k.log.WithError(err).Warn("no token in common with the store: `overlayzfs gc` refuses until the engine's next start")
	}
}

// storedParams returns the parameters for an Init that came without a body. When the
// previous process ended during Init (see Server.Stale), the engine repeats the call and
// has no body left, but the parameters were stored. Only a process's first Init can be
// such a repetition.
func (k *currentDriver) storedParams(ctx context.Context) (InitParams, error) {
	if err := k.current.Lock(ctx); err != nil {
		return InitParams{}, err
	}
	defer k.current.Unlock()
	p := k.params.Load()
	if k.hadInit || p == nil {
		return InitParams{}, errNoBody
	}
	return *p, nil
}

// closeCurrent closes the current Driver once its calls are done. Two open Drivers could
// meet on one home or dataset. When the next one cannot be opened, calls open the old one
// again.
func (k *currentDriver) closeCurrent(ctx context.Context) error {
	old, wasOpen := k.current.Drop(errReplaced)
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
func (k *currentDriver) currentFor(p InitParams) Driver {
	s, isOpen := k.current.Get()
	if !isOpen || !k.params.Load().equal(p) {
		return nil
	}
	return s.driver
}

// restore opens the Driver with the stored parameters, if there are any. The caller holds
// the turn.
func (k *currentDriver) restore(ctx context.Context) {
	p, err := k.state.load()
	if err != nil {
		k.log.WithError(err).Error("cannot read the stored parameters: waiting for the engine's Init")
		_ = k.current.Open(ctx, func(context.Context) (*sharedDriver, error) { return nil, err }) // for the calls that wait
		return
	}
	if p == nil {
		k.log.Debug("no stored parameters: waiting for the engine's Init")
		return
	}
	k.params.Store(p)
	if err := k.current.Open(ctx, k.openStored); err != nil {
		k.log.WithError(err).WithField("home", p.Home).Error("cannot open the driver again; the next call retries")
	}
}

package plugin

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// init makes the Driver for p the current one.
func (k *keeper) init(ctx context.Context, p InitParams) error {
	if err := k.lock(ctx); err != nil {
		return err
	}
	defer k.unlock()
	k.introduced = true
	if d := k.opened(p); d != nil {
		err := errors.Join(k.store.save(p), d.Restart(ctx))
		if errors.Is(err, fault.HomeGone) && k.stale != nil {
			k.stale(err)
		}
		if err == nil {
			k.pair(d, p)
		}
		return err
	}
	if err := k.vacate(ctx); err != nil {
		return err
	}
	d, err := k.openGuarded(ctx, p)
	if err == nil {
		if err = k.store.save(p); err != nil {
			err = errors.Join(err, d.Close())
		}
	}
	if err != nil {
		k.failed(ctx, err)
		return err
	}
	k.pair(d, p)
	k.replace(d, p)
	return nil
}

// pair gives the store and this side a token in common. Layers do without; only
// what deletes by the engine's records does not believe them then. So it is not
// worth an engine that does not start, on a full disk for example.
func (k *keeper) pair(d Driver, p InitParams) {
	err := d.BindEngine(k.store.tokens(), func(tokens []string) error { return k.store.keep(p, tokens) })
	if err != nil {
		k.log.WithError(err).Warn("no token in common with the store: `overlayzfs gc` refuses until the engine's next start")
	}
}

// repeated returns the parameters of an Init that came without a body. When the
// process before ended during Init (see Server.Stale), the engine repeats it
// with nothing left to send; what it said then was stored. Only the first Init
// of a process can be such a one.
func (k *keeper) repeated(ctx context.Context) (InitParams, error) {
	if err := k.lock(ctx); err != nil {
		return InitParams{}, err
	}
	defer k.unlock()
	p, _ := k.outcome()
	if k.introduced || p == nil {
		return InitParams{}, errSpent
	}
	return *p, nil
}

// vacate closes the current Driver once its calls are done: an engine has one,
// and two could meet on one home or dataset. When the next one then cannot be
// opened, calls open the old one again.
func (k *keeper) vacate(ctx context.Context) error {
	k.mu.Lock()
	old := k.current
	if old == nil {
		k.mu.Unlock()
		return nil
	}
	k.current, k.failure = nil, errVacated
	k.mu.Unlock()
	old.release()
	select {
	case <-old.closed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("calls of the engine before still use the driver: %w", context.Cause(ctx))
	}
}

var errVacated = errors.New("the engine sent other parameters and went away")

// opened returns the current Driver if p is what it was opened with.
func (k *keeper) opened(p InitParams) Driver {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current == nil || !k.params.equal(p) {
		return nil
	}
	return k.current.driver
}

// restore opens the Driver from the stored parameters, if there are any. The
// caller holds the turn.
func (k *keeper) restore(ctx context.Context) {
	p, err := k.store.load()
	if err != nil {
		k.log.WithError(err).Error("the stored parameters are of no use: waiting for the engine's Init")
		k.failed(ctx, err)
		return
	}
	if p == nil {
		k.log.Debug("no stored parameters: waiting for the engine's Init")
		return
	}
	k.mu.Lock()
	k.params = p
	k.mu.Unlock()
	if err := k.reopen(ctx, *p); err != nil {
		k.log.WithError(err).WithField("home", p.Home).Error("cannot open the driver again; the next call retries")
	}
}

// reopen opens the Driver for parameters that are stored already. The caller
// holds the turn.
func (k *keeper) reopen(ctx context.Context, p InitParams) error {
	d, err := k.openGuarded(ctx, p)
	if err != nil {
		k.failed(ctx, err)
		return err
	}
	k.replace(d, p)
	return nil
}

// openGuarded makes an Opener's panic an error: it also runs where no handler
// would catch one.
func (k *keeper) openGuarded(ctx context.Context, p InitParams) (d Driver, err error) {
	defer func() {
		if v := recover(); v != nil {
			k.log.WithField("stack", string(debug.Stack())).Errorf("opening the driver panicked: %v", v)
			d, err = nil, fmt.Errorf("opening the driver panicked: %v; the plugin's log has the stack", v)
		}
	}()
	return k.open(ctx, p)
}

// failed keeps why there is no Driver. An opening that ended because its caller
// went away says nothing to the others.
func (k *keeper) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failure = err
	k.attempts++
}

// replace makes d current; what was current closes when its last call is done.
func (k *keeper) replace(d Driver, p InitParams) {
	k.mu.Lock()
	old := k.current
	k.current = newSession(d, k.log)
	k.params, k.failure = &p, nil
	k.attempts++
	k.mu.Unlock()
	if old != nil {
		old.release()
	}
}

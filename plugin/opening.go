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
	d, err := k.openRecovering(ctx, p)
	if err == nil {
		if err = k.state.save(p); err != nil {
			err = errors.Join(err, d.Close())
		}
	}
	if err != nil {
		k.recordFailure(ctx, err)
		return err
	}
	k.bind(d, p)
	k.replace(d, p)
	return nil
}

// bind gives the store and the state file a token in common, by which `overlayzfs gc`
// recognises the engine's records as this store's. A failure is only logged, because
// layers work without a token: a full disk must not keep the engine from starting.
func (k *keeper) bind(d Driver, p InitParams) {
	err := d.BindEngine(k.state.tokens(), func(tokens []string) error { return k.state.saveTokens(p, tokens) })
	if err != nil {
		k.log.WithError(err).Warn("no token in common with the store: `overlayzfs gc` refuses until the engine's next start")
	}
}

// storedParams returns the parameters for an Init that came without a body. When the
// previous process ended during Init (see Server.Stale), the engine repeats the call and
// has no body left, but the parameters were stored. Only a process's first Init can be
// such a repetition.
func (k *keeper) storedParams(ctx context.Context) (InitParams, error) {
	if err := k.lock(ctx); err != nil {
		return InitParams{}, err
	}
	defer k.unlock()
	p, _ := k.outcome()
	if k.hadInit || p == nil {
		return InitParams{}, errNoBody
	}
	return *p, nil
}

// closeCurrent closes the current Driver once its calls are done. Two open Drivers could
// meet on one home or dataset. When the next one cannot be opened, calls open the old one
// again.
func (k *keeper) closeCurrent(ctx context.Context) error {
	k.mu.Lock()
	old := k.current
	if old == nil {
		k.mu.Unlock()
		return nil
	}
	k.current, k.failure = nil, errReplaced
	k.mu.Unlock()
	old.release()
	select {
	case <-old.closed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("calls of the engine before still use the driver: %w", context.Cause(ctx))
	}
}

var errReplaced = errors.New("the engine sent other parameters and went away")

// currentFor returns the current Driver if p are its parameters, or nil.
func (k *keeper) currentFor(p InitParams) Driver {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current == nil || !k.params.equal(p) {
		return nil
	}
	return k.current.driver
}

// restore opens the Driver with the stored parameters, if there are any. The caller holds
// the turn.
func (k *keeper) restore(ctx context.Context) {
	p, err := k.state.load()
	if err != nil {
		k.log.WithError(err).Error("cannot read the stored parameters: waiting for the engine's Init")
		k.recordFailure(ctx, err)
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

// reopen opens the Driver with parameters that are stored already. The caller holds the
// turn.
func (k *keeper) reopen(ctx context.Context, p InitParams) error {
	d, err := k.openRecovering(ctx, p)
	if err != nil {
		k.recordFailure(ctx, err)
		return err
	}
	k.replace(d, p)
	return nil
}

// openRecovering calls the Opener and turns its panic into an error. It also runs outside
// of calls, where nothing else would catch one.
func (k *keeper) openRecovering(ctx context.Context, p InitParams) (d Driver, err error) {
	defer func() {
		if v := recover(); v != nil {
			k.log.WithField("stack", string(debug.Stack())).Errorf("opening the driver panicked: %v", v)
			d, err = nil, fmt.Errorf("opening the driver panicked: %v; the plugin's log has the stack", v)
		}
	}()
	return k.open(ctx, p)
}

// recordFailure stores why there is no Driver. An opening that ended because its caller
// went away means nothing to others, and is not stored.
func (k *keeper) recordFailure(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failure = err
	k.attempts++
}

// replace makes d current. The old Driver closes when its last call is done.
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

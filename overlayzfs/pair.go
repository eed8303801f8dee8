package overlayzfs

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/sirupsen/logrus"
)

// Engine is what a store remembers of the engine whose Init came last.
type Engine struct {
	// Token was chosen at that Init. The engine's side has it, too; a copy of its
	// records from before has not.
	Token string `json:"token"`
	// Disputed: some engine came without the token of the one before it, so that
	// each may know layers of which the other has no record.
	Disputed bool `json:"disputed,omitempty"`
}

// readEngine returns what the store remembers; nothing where no engine came that
// has tokens. What is damaged could have been anybody's.
func readEngine(h home) (e Engine, err error) {
	raw, err := os.ReadFile(h.own(engineName))
	if errors.Is(err, fs.ErrNotExist) {
		return Engine{}, nil
	}
	if err != nil {
		return Engine{}, err
	}
	if json.Unmarshal(raw, &e) != nil {
		e = Engine{Disputed: true}
	}
	return e, nil
}

func writeEngine(h home, e Engine) error {
	raw, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return writeWhole(h.own(engineName), raw)
}

// BindEngine ties the store to the engine that opens it by a new token. The engine's
// side kept known of the Init before, and keeps by keep what it needs now.
//
// It has the old token beside the new one before the store takes the new one. So
// wherever that is cut short, the engine that came has the store's token, and no
// copy of its records from before gets to have it later.
func (d *Driver) BindEngine(known []string, keep func(tokens []string) error) error {
	last, err := readEngine(d.home)
	if err != nil {
		return err
	}
	same := slices.Contains(known, last.Token) && last.Token != ""
	next := Engine{Token: newShort(), Disputed: last.Disputed || last.Token != "" && !same}
	tokens := []string{next.Token}
	if same {
		tokens = []string{last.Token, next.Token}
	}
	err = keep(tokens)
	if failed := writeEngine(d.home, next); failed != nil {
		// Nobody has an empty token, and a full dataset lets a file be cut.
		err = errors.Join(err, failed, forgetEngine(d.home))
	}
	return err
}

// forgetEngine makes that no engine has the store's token.
func forgetEngine(h home) error {
	err := os.Truncate(h.own(engineName), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// EndDispute ends a dispute: somebody knows that there is one engine.
func (d *Driver) EndDispute() error {
	e, err := readEngine(d.home)
	if err != nil || !e.Disputed {
		return err
	}
	e.Disputed = false
	logrus.WithField("dataset", d.dataset).Info("the store is one engine's")
	return writeEngine(d.home, e)
}

// AcceptReceived makes the store one that no engine has used: it came from another host,
// and the engine that comes first is not in dispute with that host's. Nothing is
// left to be done with it then.
func (d *Driver) AcceptReceived(ctx context.Context) error {
	if err := unlinkIfThere(d.home.own(engineName)); err != nil {
		return err
	}
	if err := d.WaitReaper(ctx); err != nil || d.zfs == nil {
		return err
	}
	if err := d.recorded(ctx); err != nil {
		return err
	}
	return ClearReceiving(d.zfs, d.dataset)
}

// Engine is the engine whose Init came last.
func (v *StoreView) Engine() (Engine, error) { return readEngine(v.home) }

package overlayzfs

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/sirupsen/logrus"
)

// Engine is the store's record of the engine whose Init came last.
type Engine struct {
	// Token was chosen at that Init. The engine's side has it too, and an earlier copy of
	// its records does not.
	Token string `json:"token"`
	// Disputed says that an engine came without the token of the engine before it. Each may
	// have layers that the other has no record of.
	Disputed bool `json:"disputed,omitempty"`
}

// readEngine returns the store's record. It is empty when no engine with tokens has come.
// A damaged record counts as disputed, because it could have been any engine's.
func readEngine(h home) (e Engine, err error) {
	raw, err := os.ReadFile(h.privatePath(engineFile))
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
	return replaceFile(h.privatePath(engineFile), raw)
}

// BindEngine binds the store to the engine that opens it, by a new token. known are the
// tokens that the engine's side has kept, and keep stores the tokens that it needs now.
//
// The engine's side has both tokens before the store takes the new one. So after a crash
// anywhere the engine that came has the store's token, and no earlier copy of its records
// can get it later.
func (d *Driver) BindEngine(known []string, keep func(tokens []string) error) error {
	last, err := readEngine(d.home)
	if err != nil {
		return err
	}
	same := slices.Contains(known, last.Token) && last.Token != ""
	next := Engine{Token: NewShortName(), Disputed: last.Disputed || last.Token != "" && !same}
	tokens := []string{next.Token}
	if same {
		tokens = []string{last.Token, next.Token}
	}
	err = keep(tokens)
	if failed := writeEngine(d.home, next); failed != nil {
		// No engine has an empty token, and a full dataset still lets a file be truncated.
		err = errors.Join(err, failed, clearEngine(d.home))
	}
	return err
}

// clearEngine empties the token, which matches no engine's.
func clearEngine(h home) error {
	err := os.Truncate(h.privatePath(engineFile), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// EndDispute ends a dispute. The caller knows that only one engine uses the store.
func (d *Driver) EndDispute() error {
	e, err := readEngine(d.home)
	if err != nil || !e.Disputed {
		return err
	}
	e.Disputed = false
	logrus.WithField("dataset", d.dataset).Info("dispute ended: one engine uses the store")
	return writeEngine(d.home, e)
}

// Engine returns the store's record of the engine whose Init came last.
func (v *StoreView) Engine() (Engine, error) { return readEngine(v.home) }

package plugin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// call is one request on its way through the server.
type call struct {
	server *Server
	name   string // on the wire
	op     string // for people
	layer  string // known once the request is read
	ctx    context.Context
	w      http.ResponseWriter
	r      *http.Request
	ended  func(error) // see Server.Observe

	started bool // part of a Diff is out: only breaking the connection can say it failed
}

// callFunc does one call's work and sends its answer, unless it fails.
type callFunc func(c *call) error

// handle wraps what every call needs around run: counting, cancelling, making
// panics errors, telling the engine, logging.
func (s *Server) handle(name, op string, run callFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		defer context.AfterFunc(s.flight.ctx, func() { cancel(errStopping) })()
		c := &call{server: s, name: name, op: op, ctx: ctx, w: w, r: r, ended: func(error) {}}
		if s.Observe != nil {
			c.ended = s.Observe(op)
		}
		if !s.flight.enter() {
			c.finish(errStopping, began)
			return
		}
		defer s.flight.leave()
		c.finish(c.guarded(run), began)
	}
}

var errStopping = errors.New("the plugin is stopping; repeat the command when it runs again")

// guarded runs the call and makes a panic its error.
func (c *call) guarded(run callFunc) (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			c.ended(err)
			panic(v)
		}
		c.logger().WithField("stack", string(debug.Stack())).Errorf("%s panicked: %v", c.name, v)
		err = fmt.Errorf("%s panicked: %v; the plugin's log has the stack", c.name, v)
	}()
	return run(c)
}

// finish tells the engine and the log how the call ended.
func (c *call) finish(err error, began time.Time) {
	log := c.logger().WithField("duration", time.Since(began))
	if err == nil {
		c.ended(nil)
		log.Debug("done")
		return
	}
	err = fault.AddContext(fault.Op{Name: c.op, Layer: c.layer}, err)
	if errors.Is(context.Cause(c.ctx), errStopping) && !errors.Is(err, errStopping) {
		err = fmt.Errorf("%w: %w", errStopping, err)
	}
	if hungUp := c.r.Context().Err(); hungUp != nil {
		c.ended(errors.Join(hungUp, err))
		log.WithError(err).Warn("the engine hung up")
	} else {
		c.ended(err)
		log.WithError(err).Error("failed")
	}
	if c.started {
		panic(http.ErrAbortHandler)
	}
	if err := c.refuse(fault.Text(err)); err != nil {
		log.WithError(err).Debug("the engine did not take the error")
	}
}

// refuse sends the error. The engine takes an answer of another status than
// 200 as well, but keeps the text as it is only with 200; a Diff has no choice.
func (c *call) refuse(text string) error {
	switch c.name {
	case callApplyDiff:
		return c.refuseStream(text)
	case callDiff:
		return writeJSON(c.w, http.StatusInternalServerError, errorResponse{text})
	default:
		return writeJSON(c.w, http.StatusOK, errorResponse{text})
	}
}

// logger names the call; hostile or endless IDs are shortened.
func (c *call) logger() logrus.FieldLogger {
	log := c.server.log.WithField("op", c.op)
	if c.layer != "" {
		log = log.WithField("layer", shorten(c.layer))
	}
	return log
}

func shorten(id string) string {
	const most = 80
	if len(id) > most {
		return id[:most] + "…"
	}
	return id
}

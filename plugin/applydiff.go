package plugin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// A refused ApplyDiff's body is read for so long and so far after the answer
// went out. Closing at once could cost the engine the answer.
const (
	drainTime = 5 * time.Second
	drainSize = 64 << 20
)

// applyDiff unpacks the tar in the request's body.
func applyDiff(c *call) error {
	size, err := c.apply()
	if err != nil {
		return err
	}
	return c.answer(sizeResponse{size})
}

func (c *call) apply() (int64, error) {
	q, err := decodeQuery(c.r.URL.RawQuery)
	c.layer = q.ID
	if err != nil {
		return 0, err
	}
	body := bufio.NewReader(c.r.Body)
	if _, err := body.Peek(1); errors.Is(err, io.EOF) {
		return 0, errSpent
	} else if err != nil {
		return 0, cutBody(err)
	}
	s, err := c.server.keeper.acquire(c.ctx)
	if err != nil {
		return 0, err
	}
	defer s.release()
	size, err := s.driver.ApplyDiff(c.ctx, q.ID, q.Parent, body)
	if err != nil {
		return 0, err
	}
	// A tar may end before its stream does. The engine goes on reading its
	// side of the stream once it is answered, and must not race itself.
	if _, err := io.Copy(io.Discard, body); err != nil {
		return 0, cutBody(err)
	}
	return size, nil
}

// cutBody names the trouble with a body that cannot be read to its end.
func cutBody(err error) error {
	return fmt.Errorf("the engine's stream broke: %w", err)
}

// refuseStream sends the error while the engine may still be sending. The
// server would else read a part of the body before it answers, and close the
// connection on the rest: the engine would find a broken pipe, not the error.
func (c *call) refuseStream(text string) error {
	control := http.NewResponseController(c.w)
	if err := control.EnableFullDuplex(); err != nil {
		return err
	}
	c.w.Header().Set("Connection", "close")
	if err := writeJSON(c.w, http.StatusOK, errorResponse{text}); err != nil {
		return err
	}
	if err := control.Flush(); err != nil {
		return err
	}
	return c.drain(control)
}

// drain reads on until the engine has stopped sending, within limits.
func (c *call) drain(control *http.ResponseController) error {
	if err := control.SetReadDeadline(time.Now().Add(drainTime)); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, c.r.Body, drainSize); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"unicode/utf8"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// maxRequest bounds the body of a JSON call. Real bodies are below a kilobyte, and with the
// longest options and ID maps still far below this bound.
const maxRequest = 1 << 20

// errNoBody is returned when a call comes without its body.
var errNoBody = fault.New(fault.Invalid, "the request's body is empty: the engine repeats calls whose connection broke without their body; repeat the command")

// decodeJSON reads one JSON value. It ignores unknown fields and anything after the value,
// because newer engines may send more.
func decodeJSON(r io.Reader, into any) error {
	body, err := io.ReadAll(io.LimitReader(r, maxRequest+1))
	if err != nil {
		return fault.New(fault.Invalid, "the request's body cannot be read: %w", err)
	}
	if len(body) > maxRequest {
		return fault.New(fault.Invalid, "the request's body is larger than %d bytes", maxRequest)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(into); errors.Is(err, io.EOF) {
		return errNoBody
	} else if err != nil {
		return fault.New(fault.Invalid, "the request's body is not the JSON of this call: %w", err)
	}
	// The decoder replaces each invalid byte by U+FFFD, which would turn one name into
	// another.
	if !utf8.Valid(body[:dec.InputOffset()]) {
		return fault.New(fault.Invalid, "the request's body is not UTF-8")
	}
	return nil
}

func decodeLayer(r io.Reader) (layerRequest, error) {
	var q layerRequest
	if err := decodeJSON(r, &q); err != nil {
		return layerRequest{}, err
	}
	return q, needID(q.ID)
}

func decodeInit(r io.Reader) (InitParams, error) {
	var p InitParams
	if err := decodeJSON(r, &p); err != nil {
		return InitParams{}, err
	}
	return p, p.check()
}

// decodeQuery reads ApplyDiff's parameters from the URL.
func decodeQuery(raw string) (layerRequest, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return layerRequest{}, fault.New(fault.Invalid, "the request's query is malformed: %w", err)
	}
	if len(values["id"]) > 1 || len(values["parent"]) > 1 {
		return layerRequest{}, fault.New(fault.Invalid, "the request's query names more than one layer")
	}
	q := layerRequest{ID: values.Get("id"), Parent: values.Get("parent")}
	return q, needID(q.ID)
}

func needID(id string) error {
	if id == "" {
		return fault.New(fault.Invalid, "the request names no layer")
	}
	return nil
}

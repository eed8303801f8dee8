package plugin

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/docker/go-plugins-helpers/sdk"
)

// writeJSON sends value as the whole answer. It fails when value has no JSON, or when the
// engine does not take the answer.
func writeJSON(w http.ResponseWriter, status int, value any) error {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return err
	}
	w.Header().Set("Content-Type", sdk.DefaultContentTypeV1_1)
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	_, err := w.Write(body.Bytes())
	return err
}

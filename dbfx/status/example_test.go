package status_test

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/sergas/dbkit/dbfx/status"
)

// A page that asks for a key, as a browser does with a dialogue. With Fx,
// fx.Supply(options).
func ExampleOptions_authorize() {
	want := sha256.Sum256([]byte("a long random key"))
	options := status.Options{Authorize: func(w http.ResponseWriter, r *http.Request) bool {
		_, key, _ := r.BasicAuth()
		got := sha256.Sum256([]byte(key)) // of one length, so that the time says nothing
		if subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
			return true
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="status"`)
		http.Error(w, "a key is needed", http.StatusUnauthorized)
		return false
	}}

	page := status.New(options)
	defer page.Close()
	for _, key := range []string{"", "a guess", "a long random key"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if key != "" {
			r.SetBasicAuth("operator", key)
		}
		w := httptest.NewRecorder()
		page.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	}
	// Output:
	// 401 Basic realm="status"
	// 401 Basic realm="status"
	// 200
}

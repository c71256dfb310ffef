package postgres

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// message encodes a message of a server.
func message(kind byte, body string) string {
	n := len(body) + 4
	return string([]byte{kind, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + body
}

var (
	notice       = message('N', "SWARNING\x00Msomething\x00\x00")
	notification = message('A', "\x00\x00\x00\x01channel\x00payload\x00")
	parameter    = message('S', "TimeZone\x00UTC\x00")
	failure      = message('E', "SERROR\x00C25001\x00Mno\x00\x00")
	begun        = message('1', "") + message('2', "") + message('C', "BEGIN\x00")
	ready        = message('Z', "T")
	answer       = message('T', "\x00\x01v") + message('D', "\x00\x01\x00\x00\x00\x011") + message('C', "SELECT 1\x00") + ready
	undone       = message('C', "ROLLBACK\x00") + message('Z', "I")
)

// choppy is a reader that returns a random part of what it was asked for.
type choppy struct {
	r      io.Reader
	random *rand.Rand
}

func (c choppy) Read(p []byte) (int, error) {
	return c.r.Read(p[:1+c.random.IntN(min(len(p), 20))])
}

// armedWire is a wire that has sent what it was told to.
func armedWire(t *testing.T, in io.Reader, request string, statements ...string) *wire {
	t.Helper()
	w := newWire(in, io.Discard)
	if len(statements) > 0 {
		begin, err := newPreamble(statements...)
		if err != nil {
			t.Fatal(err)
		}
		w.arm(begin)
		if _, err := w.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func TestWire_TakesOutTheAnswersAndNothingElse(t *testing.T) {
	t.Parallel()
	query, parse := message('Q', "select 1\x00"), message('P', "\x00select 1\x00\x00\x00")
	long := message('D', string(bytes.Repeat([]byte("x"), 3*wireBuffer)))
	tests := []struct {
		name             string
		statements       []string
		rollback         bool
		giveBefore, give string
		want             string
	}{
		{name: "NothingToTakeOut", give: answer + notice, want: answer + notice},
		{name: "Begin", statements: []string{"begin"}, give: begun + answer, want: answer},
		{name: "BeginAndSet", statements: []string{"begin", "set local a = b"}, give: begun + begun + answer, want: answer},
		{name: "WhatComesBetween", statements: []string{"begin"},
			give: notice + message('1', "") + notification + message('2', "") + parameter + message('C', "BEGIN\x00") + notice + answer,
			want: notice + notification + parameter + notice + answer},
		{name: "ARefusal", statements: []string{"begin"}, give: message('1', "") + notice + failure + ready, want: notice + failure + ready},
		{name: "ARefusedSet", statements: []string{"begin", "set"}, give: begun + failure + ready, want: failure + ready},
		{name: "Rollback", rollback: true, give: undone + answer, want: answer},
		{name: "RollbackAndBegin", rollback: true, statements: []string{"begin"}, give: notification + undone + begun + answer, want: notification + answer},
		{name: "AFarewellInsteadOfRollback", rollback: true, statements: []string{"begin"}, give: failure, want: failure},
		{name: "HalfANotificationBefore", statements: []string{"begin"},
			giveBefore: answer + notification[:9], give: notification[9:] + begun + answer, want: notification[9:] + answer},
		{name: "AQuarterOfAHeaderBefore", rollback: true, statements: []string{"begin"},
			giveBefore: answer + notification[:2], give: notification[2:] + undone + begun + answer, want: notification[2:] + answer},
		{name: "AHeaderBefore", statements: []string{"begin"},
			giveBefore: answer + notification[:5], give: notification[5:] + begun + answer, want: notification[5:] + answer},
		{name: "LongRows", statements: []string{"begin"}, give: begun + long + long + ready + long, want: long + long + ready + long},
		{name: "ALongNotice", statements: []string{"begin"}, give: notice + message('N', long) + begun + answer, want: notice + message('N', long) + answer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(400) {
				random := rand.New(rand.NewPCG(seed, 1))
				in := io.MultiReader(choppy{bytes.NewReader([]byte(tt.giveBefore)), random}, choppy{bytes.NewReader([]byte(tt.give)), random})
				w := newWire(in, io.Discard)
				if _, err := io.ReadFull(choppy{w, random}, make([]byte, len(tt.giveBefore))); err != nil {
					t.Fatal(err)
				}
				w.rollback = tt.rollback
				w.looking.Store(tt.rollback)
				if len(tt.statements) > 0 {
					begin, err := newPreamble(tt.statements...)
					if err != nil {
						t.Fatal(err)
					}
					w.arm(begin)
					if _, err := w.Write([]byte([]string{query, parse}[seed%2])); err != nil {
						t.Fatal(err)
					}
				}
				got, err := io.ReadAll(choppy{w, random})
				if err != nil || string(got) != tt.want {
					t.Fatalf("seed %d: got %q, %v\nwant %q", seed, got, err, tt.want)
				}
				if w.inside() || len(w.raw) > 0 {
					t.Fatalf("seed %d: the wire has lost the boundary of the messages", seed)
				}
			}
		})
	}
}

func TestWire_RefusesAnswersThatCannotBe(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, give string
		rollback   bool
		want       error
	}{
		{"ReadyInsteadOfBegin", ready, false, errProtocol},
		{"RowsInsteadOfBegin", message('T', "\x00\x00"), false, errProtocol},
		{"AMonster", message('C', string(make([]byte, wireBuffer))), false, errProtocol},
		{"AServerThatNoLongerWrites", begun + message('1', "") + message('2', "") + message('D', row("on")), false, errRole},
		{"RollbackThatLeavesATransaction", message('C', "ROLLBACK\x00") + message('Z', "T"), true, errProtocol},
		{"RowsInsteadOfRollback", message('T', "\x00\x00"), true, errProtocol},
		{"TheEndInABegin", message('1', "")[:3], false, io.EOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in := iotest.OneByteReader(bytes.NewReader([]byte(tt.give + answer)))
			if tt.want == io.EOF {
				in = bytes.NewReader([]byte(tt.give))
			}
			w := armedWire(t, in, message('Q', "select 1\x00"), "begin", "show transaction_read_only")
			w.rollback, w.begin.wrong = tt.rollback, "on"
			for range 2 { // it stays so
				if n, err := w.Read(make([]byte, 100)); n != 0 || !errors.Is(err, tt.want) {
					t.Fatalf("got %d bytes, %v, want %v", n, err, tt.want)
				}
			}
		})
	}
}

// recorder is a writer that takes at most a number of bytes.
type recorder struct {
	bytes.Buffer
	most int
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.Len()+len(p) > r.most {
		n, _ := r.Buffer.Write(p[:max(r.most-r.Len(), 0)])
		return n, io.ErrShortWrite
	}
	return r.Buffer.Write(p)
}

func TestWire_PutsBeginBeforeWhatRuns(t *testing.T) {
	t.Parallel()
	query, bind := message('Q', "select 1\x00"), message('B', "\x00")
	closing, end, sync := message('C', "Sx\x00"), message('X', ""), message('S', "")
	begin, err := newPreamble("begin")
	if err != nil {
		t.Fatal(err)
	}
	b := string(begin.messages)
	tests := []struct {
		name, give, want string
		wantErr          error
	}{
		{"Query", query, b + query, nil},
		{"Extended", bind + sync, b + bind + sync, nil},
		{"ClosingAStatement", closing + sync, closing + sync, nil},
		{"ClosingAndQuery", closing + sync + query, closing + sync + b + query, nil},
		{"Farewell", end, end, nil},
		{"TheRestOfACopy", message('d', "1\n") + message('c', ""), message('d', "1\n") + message('c', ""), nil},
		{"SeveralRequests", bind + sync + bind + sync, "", errPipeline},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out := &recorder{most: 1000}
			w := newWire(nil, out)
			w.arm(begin)
			n, err := w.Write([]byte(tt.give))
			if out.String() != tt.want || !errors.Is(err, tt.wantErr) || err == nil && n != len(tt.give) {
				t.Fatalf("got %d, %v and %q\nwant %q, %v", n, err, out.String(), tt.want, tt.wantErr)
			}
			for most := range len(tt.want) {
				out := &recorder{most: most}
				w := newWire(nil, out)
				w.arm(begin)
				n, err := w.Write([]byte(tt.give))
				if err == nil || n > len(tt.give) || (n == 0) != (most == 0) {
					t.Errorf("after %d bytes: got %d, %v; 0 says that nothing was sent", most, n, err)
				}
			}
		})
	}
}

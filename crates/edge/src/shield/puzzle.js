(function () {
  'use strict';
  var form = document.forms[0];
  var seed = form.elements.token.value.slice(-64);
  var bits = Number(form.dataset.bits);
  var K = [], start = [], n = 0;
  // The constants of SHA-256: first bits of the fractions of roots of primes.
  function fraction(x) { return ((x - Math.floor(x)) * 4294967296) | 0; }
  for (var p = 2; K.length < 64; p++) {
    var prime = true;
    for (var d = 2; d * d <= p; d++) if (p % d === 0) { prime = false; break; }
    if (!prime) continue;
    if (start.length < 8) start.push(fraction(Math.sqrt(p)));
    K.push(fraction(Math.cbrt(p)));
  }
  var w = new Int32Array(64);
  function rotate(x, by) { return (x >>> by) | (x << (32 - by)); }
  // One block, which is in the first 16 words of w.
  function block(h) {
    for (var i = 16; i < 64; i++) {
      var x = w[i - 15], y = w[i - 2];
      w[i] = w[i - 16] + w[i - 7] + (rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3)) +
        (rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10));
    }
    var a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], z = h[7];
    for (i = 0; i < 64; i++) {
      var one = (z + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
      var two = ((rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      z = g; g = f; f = e; e = (d + one) | 0; d = c; c = b; b = a; a = (one + two) | 0;
    }
    return [h[0] + a | 0, h[1] + b | 0, h[2] + c | 0, h[3] + d | 0,
      h[4] + e | 0, h[5] + f | 0, h[6] + g | 0, h[7] + z | 0];
  }
  function put(text, ends) {
    w.fill(0, 0, 16);
    for (var i = 0; i < text.length; i++) w[i >> 2] |= text.charCodeAt(i) << (24 - 8 * (i & 3));
    if (ends) {
      w[text.length >> 2] |= 128 << (24 - 8 * (text.length & 3));
      w[15] = (64 + text.length) * 8;
    }
  }
  put(seed, false);
  var middle = block(start);
  function search() {
    var until = Date.now() + 50;
    do {
      for (var i = 0; i < 500; i++, n++) {
        put(':' + n, true);
        if (block(middle)[0] >>> (32 - bits) === 0) {
          form.elements.answer.value = n;
          form.submit();
          return;
        }
      }
    } while (Date.now() < until);
    setTimeout(search, 0);
  }
  search();
})();

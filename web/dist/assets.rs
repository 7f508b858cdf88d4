// Written by `npm run build` in web/. Do not edit.
&[
    Asset { name: "alerts-7Z25YJYE.js", kind: "text/javascript; charset=utf-8", tag: "5cce0a9cacdd1c08", compressed: include_bytes!("alerts-7Z25YJYE.js.gz") },
    Asset { name: "chunk-4W7PUEQF.js", kind: "text/javascript; charset=utf-8", tag: "824d2b75db736c1d", compressed: include_bytes!("chunk-4W7PUEQF.js.gz") },
    Asset { name: "chunk-ODYXG4Q6.js", kind: "text/javascript; charset=utf-8", tag: "b727443bdb20269e", compressed: include_bytes!("chunk-ODYXG4Q6.js.gz") },
    Asset { name: "configuration-RLOAMN2U.js", kind: "text/javascript; charset=utf-8", tag: "aa5983cd75ee0c82", compressed: include_bytes!("configuration-RLOAMN2U.js.gz") },
    Asset { name: "icon-15F530DF.svg", kind: "image/svg+xml", tag: "15f530df7b035f15", compressed: include_bytes!("icon-15F530DF.svg.gz") },
    Asset { name: "index.html", kind: "text/html; charset=utf-8", tag: "741cf728ca23e004", compressed: include_bytes!("index.html.gz") },
    Asset { name: "live-OI34CKEZ.js", kind: "text/javascript; charset=utf-8", tag: "4f1ef21260d65718", compressed: include_bytes!("live-OI34CKEZ.js.gz") },
    Asset { name: "main-BZMAIURV.js", kind: "text/javascript; charset=utf-8", tag: "bd83c5412aaada61", compressed: include_bytes!("main-BZMAIURV.js.gz") },
    Asset { name: "search-TSTIIY6O.js", kind: "text/javascript; charset=utf-8", tag: "80605dd10cd85152", compressed: include_bytes!("search-TSTIIY6O.js.gz") },
    Asset { name: "start-US7OTZIT.js", kind: "text/javascript; charset=utf-8", tag: "8479df2465713bd9", compressed: include_bytes!("start-US7OTZIT.js.gz") },
    Asset { name: "style-LD37TUAA.css", kind: "text/css; charset=utf-8", tag: "3ec165f16148c8f0", compressed: include_bytes!("style-LD37TUAA.css.gz") },
    Asset { name: "system-JNKLJZEC.js", kind: "text/javascript; charset=utf-8", tag: "94d5719e8a1b437e", compressed: include_bytes!("system-JNKLJZEC.js.gz") },
    Asset { name: "tune-AIIOOZZ7.js", kind: "text/javascript; charset=utf-8", tag: "594bf27e2f9f8ac0", compressed: include_bytes!("tune-AIIOOZZ7.js.gz") },
]
